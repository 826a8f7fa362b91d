//! The protocol's numbers, with the reasons that their doc comments give.

use syn::{BinOp, Expr, Item, Lit, Meta, Visibility};

const LIMITS: &str = include_str!("../../../protocol/src/limits.rs");

/// A number of the protocol.
pub(super) struct Limit {
    /// The constant's name.
    pub(super) name: String,
    pub(super) value: u64,
    /// The doc comment.
    pub(super) reason: String,
}

/// Every public constant of `mesh_protocol::limits`. The source is read because a constant's doc comment is nowhere
/// else, and so that a new one can't be forgotten.
pub(super) fn limits() -> Result<Vec<Limit>, String> {
    let file = syn::parse_file(LIMITS).map_err(|e| format!("limits.rs: {e}"))?;
    let mut limits = Vec::new();
    for item in file.items {
        let Item::Const(item) = item else { continue };
        if !matches!(item.vis, Visibility::Public(_)) {
            continue;
        }
        let name = item.ident.to_string();
        let value = value(&item.expr).ok_or_else(|| format!("limits.rs: {name}: not a whole number"))?;
        let mut doc = String::new();
        for attr in &item.attrs {
            if let Meta::NameValue(meta) = &attr.meta
                && meta.path.is_ident("doc")
                && let Expr::Lit(text) = &meta.value
                && let Lit::Str(text) = &text.lit
            {
                doc.push_str(&text.value());
                doc.push('\n');
            }
        }
        limits.push(Limit { name, value, reason: super::protocol::paragraphs(&doc) });
    }
    Ok(limits)
}

fn value(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Lit(lit) => match &lit.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Binary(sum) => {
            let (left, right) = (value(&sum.left)?, value(&sum.right)?);
            match sum.op {
                BinOp::Add(_) => left.checked_add(right),
                BinOp::Sub(_) => left.checked_sub(right),
                BinOp::Mul(_) => left.checked_mul(right),
                _ => None,
            }
        }
        Expr::Paren(inner) => value(&inner.expr),
        Expr::Group(inner) => value(&inner.expr),
        _ => None,
    }
}

/// A number as people read it: `65,536`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_protocol::limits::{MAX_FRAME_BYTES, RECOVERY_LIMIT};

    #[test]
    fn values_are_those_of_the_compiler() {
        let limits = limits().unwrap();
        let of = |name: &str| limits.iter().find(|l| l.name == name).map(|l| l.value);
        assert_eq!(of("MAX_FRAME_BYTES"), Some(MAX_FRAME_BYTES as u64));
        assert_eq!(of("RECOVERY_LIMIT"), Some(RECOVERY_LIMIT));
        assert!(limits.iter().all(|l| !l.reason.is_empty()));
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([5, 100, 4_000, 65_536, 1_234_567].map(grouped), ["5", "100", "4,000", "65,536", "1,234,567"]);
    }
}
