//! Reads one source file of the server and notes what it may not do.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::{ASYNC, Allowed, DRIVERS, Finding, NO_STORE_FIELD, NO_WEB, SQL, WEB, allowed, is_test};

/// Reads one file and notes what it may not do.
pub(super) struct Reader {
    pub(super) file: String,
    pub(super) room: String,
    pub(super) allowed: Allowed,
    /// The module that is being read.
    pub(super) mods: Vec<String>,
    pub(super) findings: Vec<Finding>,
}

impl Reader {
    fn find(&mut self, span: Span, message: String) {
        self.findings.push(Finding { file: self.file.clone(), line: span.start().line, message });
    }

    /// A path as written, from its first segment.
    fn path(&mut self, segments: &[String], span: Span, is_macro: bool) {
        let Some(first) = segments.first() else {
            return;
        };
        match first.as_str() {
            "crate" | "self" | "super" | "mesh_server" => {
                if let Some(absolute) = self.absolute(segments) {
                    self.edge(&absolute, span, is_macro);
                }
            }
            name if segments.len() > 1 => self.foreign(name, span),
            _ => {}
        }
    }

    fn absolute(&self, segments: &[String]) -> Option<Vec<String>> {
        let (first, rest) = segments.split_first()?;
        let mut path = match first.as_str() {
            "crate" | "mesh_server" => vec![],
            _ => self.mods.clone(),
        };
        if first == "super" {
            path.pop()?;
        }
        for segment in rest {
            if segment == "super" {
                path.pop()?;
            } else {
                path.push(segment.clone());
            }
        }
        Some(path)
    }

    fn edge(&mut self, absolute: &[String], span: Span, is_macro: bool) {
        let (Allowed::Only(rooms), Some(target)) = (&self.allowed, absolute.first()) else {
            return;
        };
        if *target == self.room || rooms.contains(&target.as_str()) {
            return;
        }
        let message = if allowed(target) != Allowed::Unknown {
            let rooms = if rooms.is_empty() { "nothing of this crate".to_owned() } else { rooms.join(", ") };
            format!("`{}` may not use `{target}`; it may use: {rooms}", self.room)
        } else if is_macro && absolute.len() == 1 {
            return;
        } else {
            format!("`crate::{target}` hides the room that it comes from; name the room")
        };
        self.find(span, message);
    }

    fn foreign(&mut self, name: &str, span: Span) {
        let room = self.room.as_str();
        if DRIVERS.contains(&name) && room != "store" {
            self.find(span, format!("`{name}`: database drivers are known to `store` only"));
        } else if WEB.contains(&name) && NO_WEB.contains(&room) {
            self.find(span, format!("`{name}`: `{room}` knows neither HTTP nor WebSocket"));
        } else if ASYNC.contains(&name) && room == "domain" {
            self.find(span, format!("`{name}`: `domain` is pure, nothing in it is asynchronous; take `now` and input as arguments and return actions"));
        }
    }

    fn not_async(&mut self, what: &str, span: Span) {
        if self.room == "domain" {
            self.find(span, format!("`{what}`: `domain` is pure, nothing in it is asynchronous; return actions"));
        }
    }

    fn text(&mut self, text: &str, span: Span) {
        if self.room == "store" {
            return;
        }
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        let start = words.join(" ");
        if SQL.iter().any(|sql| format!("{start} ").starts_with(sql)) {
            self.find(span, format!("SQL (`{start} …`) stands in `store` only"));
        }
    }

    fn use_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => {
                let path_so_far = with(&path.ident);
                self.use_tree(&path_so_far, &path.tree);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(before, tree);
                }
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                self.path(before, name.ident.span(), false);
            }
            syn::UseTree::Rename(name) if name.ident == "self" => {
                self.path(before, name.ident.span(), false);
            }
            syn::UseTree::Name(name) => self.path(&with(&name.ident), name.ident.span(), false),
            syn::UseTree::Rename(name) => self.path(&with(&name.ident), name.ident.span(), false),
            syn::UseTree::Glob(glob) => {
                let star = [before, &["*".to_owned()]].concat();
                self.path(&star, glob.span(), false);
            }
        }
    }

    /// What a macro is given is not parsed by `syn`: look for paths, strings and asynchronous words.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            i += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.text(&text.value(), literal.span());
                    }
                }
                TokenTree::Ident(ident) => {
                    if ident == "async" || ident == "await" {
                        self.not_async(&ident.to_string(), ident.span());
                    }
                    let mut segments = vec![ident.to_string()];
                    while let Some(next) = segment_after(&tokens, i) {
                        segments.push(next);
                        i += 3;
                    }
                    let is_macro = matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == '!');
                    if segments.len() > 1 {
                        self.path(&segments, ident.span(), is_macro);
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
}

/// The name behind `::` at this place.
fn segment_after(tokens: &[TokenTree], at: usize) -> Option<String> {
    let colon = |i: usize| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    match tokens.get(at + 2) {
        Some(TokenTree::Ident(ident)) if colon(at) && colon(at + 1) => Some(ident.to_string()),
        _ => None,
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|s| s.ident.to_string()).collect()
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item;
        let attrs = match item {
            Item::Const(i) => &i.attrs,
            Item::Enum(i) => &i.attrs,
            Item::Fn(i) => &i.attrs,
            Item::Impl(i) => &i.attrs,
            Item::Macro(i) => &i.attrs,
            Item::Mod(i) => &i.attrs,
            Item::Static(i) => &i.attrs,
            Item::Struct(i) => &i.attrs,
            Item::Trait(i) => &i.attrs,
            Item::Type(i) => &i.attrs,
            Item::Use(i) => &i.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attrs) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.mods.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.mods.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&[], &item.tree);
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(&segments(path), path.span(), false);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.path(&segments(&item.path), item.path.span(), true);
        self.tokens(item.tokens.clone());
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.text(&text.value(), text.span());
    }

    fn visit_expr_field(&mut self, field: &'ast syn::ExprField) {
        let room = self.room.as_str();
        if NO_STORE_FIELD.contains(&room) && matches!(&field.member, syn::Member::Named(name) if name == "store") {
            self.find(
                field.member.span(),
                format!("`{room}` reaches the store through `service`, not through `.store`"),
            );
        }
        visit::visit_expr_field(self, field);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = &signature.asyncness {
            self.not_async("async fn", word.span());
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.not_async("async", block.async_token.span());
        visit::visit_expr_async(self, block);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        if let Some(word) = &closure.asyncness {
            self.not_async("async", word.span());
        }
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_await(&mut self, expr: &'ast syn::ExprAwait) {
        self.not_async(".await", expr.await_token.span());
        visit::visit_expr_await(self, expr);
    }
}
