use axum::http::HeaderValue;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn bearer_tokens() {
    let token = |value: &str| bearer(&headers(&[("authorization", value)])).map(ToOwned::to_owned).ok();
    assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
    assert_eq!(token("bEARER  abc ").as_deref(), Some("abc"));
    for bad in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"] {
        assert_eq!(token(bad), None, "{bad}");
    }
    let error = bearer(&HeaderMap::new()).unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Unauthorized, "token_missing"));
}

#[test]
fn the_clients_address() {
    let trusted = [Cidr::parse("10.0.0.0/8").unwrap(), Cidr::parse("192.0.2.7").unwrap()];
    let address = |peer: &str, forwarded: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    };
    assert_eq!(address("203.0.113.9", &["1.2.3.4"]), "203.0.113.9", "a stranger is not believed");
    assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
    assert_eq!(address("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
    assert_eq!(
        address("10.0.0.1", &["6.6.6.6, 1.2.3.4"]),
        "1.2.3.4",
        "what the client wrote itself counts for nothing"
    );
    assert_eq!(address("10.0.0.1", &["6.6.6.6, 1.2.3.4, 192.0.2.7"]), "1.2.3.4");
    assert_eq!(address("10.0.0.1", &["6.6.6.6, 1.2.3.4", "192.0.2.7,10.9.9.9"]), "1.2.3.4");
    assert_eq!(address("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
    assert_eq!(address("10.0.0.1", &["1.2.3.4:5678"]), "1.2.3.4");
    assert_eq!(address("10.0.0.1", &["[2001:db8::1]:5678"]), "2001:db8::1");
    assert_eq!(address("10.0.0.1", &["1.2.3.4, unknown"]), "10.0.0.1");
    assert_eq!(address("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
}
