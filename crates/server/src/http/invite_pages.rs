//! The pages behind the links of invites, for whoever has no client yet: `/register?invite=…` makes an account,
//! `/invite/…` takes a place in a room. Each is one form that speaks to the API, in English or French; nothing comes
//! from elsewhere.

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

static PAGE: &str = include_str!("../../assets/invite/invite.html");
static SCRIPT: &str = include_str!("../../assets/invite/invite.js");
static STYLE: &str = include_str!("../../assets/invite/invite.css");

/// Its own script and style, and calls to its own server; nothing else. A form that a script does not send goes nowhere,
/// so that no password ever stands in an address.
static POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// What a page says; each name stands in the page in braces.
type Words = &'static [(&'static str, &'static str)];

const ENGLISH: Words = &[
    ("lang", "en"),
    ("username", "User name"),
    ("password", "Password"),
    ("code", "Code of your authenticator app, or a recovery code"),
    ("noscript", "This page needs JavaScript. Without it, use a client: it asks for the code at the end of this link."),
    ("failed", "The server cannot be reached; try again."),
    ("rate_limited", "Too many attempts: wait a minute."),
    ("username_taken", "This user name is taken."),
    ("invalid_credentials", "The user name or the password is wrong."),
    ("totp_required", "And now the code."),
    ("registration_closed", "This server takes no registrations without an invite; ask its administrator."),
    ("invite_over", "This invite is not valid any more: ask for a new one."),
    ("no_account", "No account yet?"),
    ("make_one", "Make one"),
    ("in_room", "You are a member of"),
    ("next", "Next: open your client, and log in with this user name and password to"),
];
const ENGLISH_REGISTER: Words = &[
    ("title", "Make your account"),
    ("lead", "Choose a user name (3 to 32 of A–Z, a–z, 0–9, “.”, “_”, “-”) and a password."),
    ("password_hint", "At least 8 characters."),
    ("go", "Make the account"),
    ("done", "The account is made:"),
];
const ENGLISH_ROOM: Words = &[
    ("title", "You are invited to a room"),
    ("lead", "Log in to accept."),
    ("password_hint", ""),
    ("go", "Accept"),
    ("done", "Accepted, as"),
];
const FRENCH: Words = &[
    ("lang", "fr"),
    ("username", "Nom d’utilisateur"),
    ("password", "Mot de passe"),
    ("code", "Code de votre application d’authentification, ou code de secours"),
    (
        "noscript",
        "Cette page a besoin de JavaScript. Sans lui, prenez un client : il demande le code qui termine ce lien.",
    ),
    ("failed", "Le serveur ne répond pas ; réessayez."),
    ("rate_limited", "Trop d’essais : attendez une minute."),
    ("username_taken", "Ce nom d’utilisateur est pris."),
    ("invalid_credentials", "Le nom d’utilisateur ou le mot de passe est faux."),
    ("totp_required", "Et maintenant, le code."),
    ("registration_closed", "Ce serveur n’accepte pas d’inscription sans invitation ; demandez à son administrateur."),
    ("invite_over", "Cette invitation n’est plus valable : demandez-en une autre."),
    ("no_account", "Pas encore de compte ?"),
    ("make_one", "En créer un"),
    ("in_room", "Vous êtes membre de"),
    ("next", "Ensuite : ouvrez votre client et connectez-vous, avec ce nom et ce mot de passe, à"),
];
const FRENCH_REGISTER: Words = &[
    ("title", "Créer votre compte"),
    (
        "lead",
        "Choisissez un nom d’utilisateur (3 à 32 caractères parmi A–Z, a–z, 0–9, « . », « _ », « - ») et un mot de passe.",
    ),
    ("password_hint", "8 caractères au moins."),
    ("go", "Créer le compte"),
    ("done", "Le compte est créé :"),
];
const FRENCH_ROOM: Words = &[
    ("title", "Vous êtes invité dans un salon"),
    ("lead", "Connectez-vous pour accepter."),
    ("password_hint", ""),
    ("go", "Accepter"),
    ("done", "C’est accepté, en tant que"),
];
/// `root` leads from the page to where the API stands, also where a proxy puts that below a path.
const REGISTER: Words = &[("kind", "register"), ("root", "./"), ("autocomplete", "new-password")];
const ROOM: Words = &[("kind", "room"), ("root", "../"), ("autocomplete", "current-password")];

/// Whether French is wanted more than English (RFC 9110, section 12.5.4).
fn wants_french(headers: &HeaderMap) -> bool {
    let mut best = [0.0_f32; 2];
    let ranges = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    for range in ranges.flat_map(|text| text.split(',')) {
        let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0);
        let at = match tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "en" => 0,
            "fr" => 1,
            _ => continue,
        };
        best[at] = weight.max(best[at]);
    }
    best[1] > best[0]
}

fn page(headers: &HeaderMap, kind: Words, english: Words, french: Words) -> Response {
    let (common, own) = if wants_french(headers) { (FRENCH, french) } else { (ENGLISH, english) };
    let words = common.iter().chain(own).chain(kind);
    let html = words.fold(PAGE.to_owned(), |html, (name, words)| html.replace(&format!("{{{name}}}"), words));
    let mut response = Html(html).into_response();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "accept-language"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "public, max-age=3600")], text).into_response()
}

/// The pages and what they load.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let room = |headers: HeaderMap| async move { page(&headers, ROOM, ENGLISH_ROOM, FRENCH_ROOM) };
    let register = |headers: HeaderMap| async move { page(&headers, REGISTER, ENGLISH_REGISTER, FRENCH_REGISTER) };
    Router::new()
        .route("/register", get(register))
        .route("/invite/{code}", get(room))
        .route("/invite.js", get(|| async { file("text/javascript", SCRIPT) }))
        .route("/invite.css", get(|| async { file("text/css", STYLE) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{body_text, get, send};

    #[test]
    fn languages_are_weighed() {
        let french = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, text.parse().unwrap());
            wants_french(&headers)
        };
        for text in ["fr", "fr-CA, en;q=0.8", "de, fr;q=0.3", "en;q=0.2,FR;q=0.7", "fr;q=0.9, en; q=0.1"] {
            assert!(french(text), "{text}");
        }
        for text in ["", "en", "en, fr;q=0.9", "de", "*", "fr;q=0", "fr;q=none", "frr"] {
            assert!(!french(text), "{text}");
        }
        assert!(!wants_french(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn pages_are_whole_in_both_languages() {
        for (path, english, french) in [
            ("/register?invite=x", "Make your account", "Créer votre compte"),
            ("/invite/abc", "You are invited to a room", "Vous êtes invité dans un salon"),
        ] {
            for (language, title) in [("en", english), ("fr", french)] {
                let mut request = get(path);
                request.headers_mut().insert("accept-language", HeaderValue::from_static(language));
                let response = send(request).await;
                assert_eq!(response.status(), 200, "{path}");
                assert_eq!(response.headers()["vary"], "accept-language");
                let html = body_text(response).await;
                assert!(html.contains(&format!("<html lang=\"{language}\">")) && html.contains(title), "{html}");
                assert!(!html.contains(['{', '}']), "a word is missing: {html}");
                // Nothing of the address comes back in the page.
                assert!(!html.contains("invite=x") && !html.contains("abc"), "{html}");
            }
        }
        // What the script looks for is there.
        for id in SCRIPT.split("part(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(PAGE.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
}
