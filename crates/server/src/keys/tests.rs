use std::{path::Path, sync::OnceLock};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use mesh_protocol::{PeerId, RoomId, model::Capability};
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};

use super::*;
use crate::{clock::Clock, config::JwtAlgorithm};

mod files;
mod seal;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OLD: &str = "another secret, another secret, another";
const ISSUER: &str = "http://mesh.test";
/// When these tests happen.
const NOW: i64 = 1_800_000_000;

fn ids() -> Ids {
    Ids::new(Clock::System)
}

/// A private key of an algorithm. RSA keys take a while to find: there is one for all tests.
fn pem(algorithm: JwtAlgorithm) -> String {
    static RSA: OnceLock<String> = OnceLock::new();
    match algorithm {
        JwtAlgorithm::Rs256 => RSA.get_or_init(|| signing::generate(algorithm).unwrap()).clone(),
        _ => signing::generate(algorithm).unwrap(),
    }
}

fn try_load(algorithm: JwtAlgorithm, secret: &str, file: Option<&Path>, issuer: &str) -> Result<Keys, String> {
    let path = file.map(|path| path.display().to_string());
    let mut pairs =
        vec![("DATABASE_URL", "sqlite://"), ("MESH_JWT_ALGORITHM", algorithm.as_str()), ("MESH_PUBLIC_URL", issuer)];
    pairs.extend(path.as_deref().map(|path| ("MESH_JWT_PRIVATE_KEY_FILE", path)));
    Keys::load(&Config::from_pairs(&pairs).unwrap(), &Secret::new(secret), &ids())
}

/// Keys of a key file with this text.
fn of_pem(algorithm: JwtAlgorithm, text: &str) -> Result<Keys, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.pem");
    std::fs::write(&path, text).unwrap();
    try_load(algorithm, SECRET, Some(&path), ISSUER)
}

fn of_secret(secret: &str) -> Keys {
    try_load(JwtAlgorithm::Hs256, secret, None, ISSUER).unwrap()
}

fn keys(algorithm: JwtAlgorithm) -> Keys {
    if algorithm.is_asymmetric() {
        of_pem(algorithm, &pem(algorithm)).unwrap()
    } else {
        try_load(algorithm, SECRET, None, ISSUER).unwrap()
    }
}

fn access(keys: &Keys) -> String {
    let ids = ids();
    keys.access_token(&ids, UserId::new(ids.uuid()), SessionId::new(ids.uuid()), NOW, 60).unwrap()
}

/// The code of what `verify_access` says.
fn refusal(keys: &Keys, token: &str) -> &'static str {
    keys.verify_access(token, NOW).unwrap_err().code
}

fn claims() -> Value {
    let ids = ids();
    json!({"iss": ISSUER, "sub": ids.uuid(), "sid": ids.uuid(), "jti": ids.uuid(), "iat": NOW, "exp": NOW + 60})
}

/// Access claims with one changed, or without it.
fn with(name: &str, value: Option<Value>) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    claims
}

fn grant() -> CapabilityGrant {
    let ids = ids();
    CapabilityGrant {
        user: UserId::new(ids.uuid()),
        session: SessionId::new(ids.uuid()),
        room_id: RoomId::new(ids.uuid()),
        target_peer_id: Some("agent-1".parse::<PeerId>().unwrap()),
        capabilities: vec![Capability::Call, Capability::TerminalView],
        cnf: None,
    }
}

/// A token with any header at all, and the signature that `sign` makes of its text.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> String) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    format!("{text}.{}", sign(text.as_bytes()))
}

fn header_of(token: &str) -> Value {
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

#[test]
fn only_live_tokens_of_this_server_pass_with_every_algorithm() {
    let ids = ids();
    let (user, session) = (UserId::new(ids.uuid()), SessionId::new(ids.uuid()));
    for algorithm in JwtAlgorithm::ALL {
        let ours = keys(algorithm);
        let token = ours.access_token(&ids, user, session, NOW, 60).unwrap();
        let claims: AccessClaims = ours.verify(types::ACCESS, &token, NOW).unwrap();
        assert_eq!((claims.sub, claims.sid, claims.iat, claims.exp), (user, session, NOW, NOW + 60));
        assert_eq!(claims.iss, ISSUER);
        let seen = ours.verify_access(&token, NOW + 59).unwrap();
        assert_eq!((seen.user, seen.session, seen.expires_at()), (user, session, NOW + 60));
        let header = header_of(&token);
        assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm.as_str()), &json!("at+jwt")));
        assert!(header["kid"].is_string());
        // It is remembered by now, and judged by the time all the same.
        assert_eq!(ours.verify_access(&token, NOW + 60).unwrap_err().code, "token_expired");
        assert_eq!(ours.verify_access(&token, NOW - 61).unwrap_err().code, "token_invalid");
        assert!(ours.verify_access(&token, NOW - 60).is_ok());
        let other = if algorithm == JwtAlgorithm::Rs256 {
            // A second RSA key would take a while: this one's tokens under another name are enough.
            let (rest, signature) = token.rsplit_once('.').unwrap();
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[7] ^= 1;
            format!("{rest}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
        } else if algorithm.is_asymmetric() {
            access(&keys(algorithm))
        } else {
            access(&try_load(algorithm, OLD, None, ISSUER).unwrap())
        };
        assert_eq!(refusal(&ours, &other), "token_invalid", "{algorithm:?}");
        let half = &token[..token.len() / 2];
        for garbage in ["", ".", "..", "a.b.c", half, &format!("{token}."), &token.replace('.', ""), &"a".repeat(9000)]
        {
            assert_eq!(refusal(&ours, garbage), "token_invalid");
        }
    }
}

#[test]
fn a_token_without_a_signature_is_none() {
    for algorithm in JwtAlgorithm::ALL {
        let ours = keys(algorithm);
        let kid = header_of(&access(&ours))["kid"].clone();
        for alg in ["none", "None", "NONE", ""] {
            for header in [json!({"alg": alg, "typ": "at+jwt"}), json!({"alg": alg, "typ": "at+jwt", "kid": kid})] {
                assert_eq!(refusal(&ours, &token(&header, &claims(), |_| String::new())), "token_invalid", "{header}");
            }
        }
        let header = json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": kid});
        assert_eq!(refusal(&ours, &token(&header, &claims(), |_| String::new())), "token_invalid");
        // What is signed says so: the same claims under the same signature, another algorithm named.
        let good = access(&ours);
        let mut parts = good.split('.').skip(1);
        let (body, signature) = (parts.next().unwrap(), parts.next().unwrap());
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
        for forged in [format!("{none}.{body}."), format!("{none}.{body}.{signature}"), format!("{none}.{body}")] {
            assert_eq!(refusal(&ours, &forged), "token_invalid");
        }
    }
}

#[test]
fn the_public_key_is_no_secret() {
    for algorithm in [JwtAlgorithm::EdDsa, JwtAlgorithm::Es256, JwtAlgorithm::Rs256] {
        let text = pem(algorithm);
        let ours = of_pem(algorithm, &text).unwrap();
        let block = pem::blocks(&text).remove(0).der.unwrap();
        use rsa::pkcs8::DecodePrivateKey as _;
        let public = match algorithm {
            JwtAlgorithm::EdDsa => ed25519_dalek::SigningKey::from_pkcs8_der(&block)
                .unwrap()
                .verifying_key()
                .to_public_key_pem(LineEnding::LF),
            JwtAlgorithm::Es256 => {
                p256::SecretKey::from_pkcs8_der(&block).unwrap().public_key().to_public_key_pem(LineEnding::LF)
            }
            _ => rsa::RsaPrivateKey::from_pkcs8_der(&block).unwrap().to_public_key().to_public_key_pem(LineEnding::LF),
        }
        .unwrap();
        let jwk = ours.jwks()["keys"][0].clone();
        let raw = BASE64_URL_SAFE_NO_PAD.decode(jwk["x"].as_str().or(jwk["n"].as_str()).unwrap()).unwrap();
        let kid = &jwk["kid"];
        let secrets = [public.as_bytes(), public.trim_end().as_bytes(), &raw, kid.as_str().unwrap().as_bytes()];
        for secret in secrets {
            for (alg, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
                for header in [json!({"alg": name, "typ": "at+jwt"}), json!({"alg": name, "typ": "at+jwt", "kid": kid})]
                {
                    let sign =
                        |text: &[u8]| jsonwebtoken::crypto::sign(text, &EncodingKey::from_secret(secret), alg).unwrap();
                    assert_eq!(refusal(&ours, &token(&header, &claims(), sign)), "token_invalid", "{header}");
                }
            }
        }
    }
}

#[test]
fn only_the_algorithm_that_is_configured_passes() {
    // The very secret, under another of its algorithms.
    let ours = keys(JwtAlgorithm::Hs256);
    for algorithm in [JwtAlgorithm::Hs384, JwtAlgorithm::Hs512] {
        let theirs = keys(algorithm);
        assert_eq!(refusal(&ours, &access(&theirs)), "token_invalid");
        assert_eq!(refusal(&theirs, &access(&ours)), "token_invalid");
    }
    // The server's own secret, which still seals, signs nothing where a private key does.
    for algorithm in [JwtAlgorithm::EdDsa, JwtAlgorithm::Es256, JwtAlgorithm::Rs256] {
        let theirs = keys(algorithm);
        assert_eq!(refusal(&theirs, &access(&ours)), "token_invalid");
        assert_eq!(refusal(&ours, &access(&theirs)), "token_invalid");
    }
    // The very key, under another of its algorithms.
    let ours = keys(JwtAlgorithm::Rs256);
    let key = &ours.keys[0];
    for (alg, name) in [(Algorithm::RS384, "RS384"), (Algorithm::RS512, "RS512"), (Algorithm::PS256, "PS256")] {
        let header = json!({"alg": name, "typ": "at+jwt", "kid": key.id});
        let forged = token(&header, &claims(), |text| jsonwebtoken::crypto::sign(text, &key.encoding, alg).unwrap());
        assert_eq!(refusal(&ours, &forged), "token_invalid", "{name}");
    }
}

#[test]
fn a_key_in_the_token_is_not_believed() {
    let (ours, theirs) = (keys(JwtAlgorithm::EdDsa), keys(JwtAlgorithm::EdDsa));
    let jwk = theirs.jwks()["keys"][0].clone();
    let own = ours.keys[0].id.clone();
    let sign = |text: &[u8]| jsonwebtoken::crypto::sign(text, &theirs.keys[0].encoding, Algorithm::EdDSA).unwrap();
    for header in [
        json!({"alg": "EdDSA", "typ": "at+jwt", "jwk": jwk}),
        json!({"alg": "EdDSA", "typ": "at+jwt", "jwk": jwk, "kid": own}),
        json!({"alg": "EdDSA", "typ": "at+jwt", "jku": "https://evil.example/jwks.json", "kid": jwk["kid"]}),
    ] {
        assert_eq!(refusal(&ours, &token(&header, &claims(), sign)), "token_invalid", "{header}");
    }
    // What the header says is critical, and is not understood.
    let sign = |text: &[u8]| jsonwebtoken::crypto::sign(text, &ours.keys[0].encoding, Algorithm::EdDSA).unwrap();
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": own});
    assert!(ours.verify_access(&token(&header, &claims(), sign), NOW).is_ok());
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": own, "crit": ["b64"], "b64": false});
    assert_eq!(refusal(&ours, &token(&header, &claims(), sign)), "token_invalid");
}

#[test]
fn a_foreign_issuer_is_refused() {
    let ours = of_secret(SECRET);
    let theirs = try_load(JwtAlgorithm::Hs256, SECRET, None, "http://other.test").unwrap();
    assert_eq!(refusal(&ours, &access(&theirs)), "token_invalid");
    for iss in [json!("http://mesh.test/"), json!("http://MESH.test"), json!(""), json!([ISSUER]), json!(null)] {
        let token = ours.sign(types::ACCESS, &with("iss", Some(iss))).unwrap();
        assert_eq!(refusal(&ours, &token), "token_invalid");
    }
    assert_eq!(ours.issuer(), ISSUER);
}

#[test]
fn a_missing_claim_is_refused() {
    let ours = of_secret(SECRET);
    assert!(ours.verify_access(&ours.sign(types::ACCESS, &claims()).unwrap(), NOW).is_ok());
    for name in ["iss", "sub", "sid", "jti", "iat", "exp"] {
        for value in [None, Some(Value::Null), Some(json!({"a": 1}))] {
            let token = ours.sign(types::ACCESS, &with(name, value.clone())).unwrap();
            assert_eq!(refusal(&ours, &token), "token_invalid", "{name}: {value:?}");
        }
    }
    for (name, value) in [("exp", json!("1900000000")), ("iat", json!(f64::MAX)), ("exp", json!(u64::MAX))] {
        let token = ours.sign(types::ACCESS, &with(name, Some(value))).unwrap();
        assert_eq!(refusal(&ours, &token), "token_invalid", "{name}");
    }
    for other in [json!([]), json!("claims"), json!(null)] {
        assert_eq!(refusal(&ours, &ours.sign(types::ACCESS, &other).unwrap()), "token_invalid");
    }
}

#[test]
fn what_comes_from_the_future_is_refused_beyond_the_skew_of_clocks() {
    let ours = of_secret(SECRET);
    let verdict = |name: &str, at: i64| {
        let mut claims = with(name, Some(json!(at)));
        claims["exp"] = json!(i64::MAX);
        ours.verify_access(&ours.sign(types::ACCESS, &claims).unwrap(), NOW).map_err(|e| e.code).map(drop)
    };
    for name in ["iat", "nbf"] {
        for at in [i64::MIN, 0, NOW, NOW + 60] {
            assert_eq!(verdict(name, at), Ok(()), "{name} {at}");
        }
        for at in [NOW + 61, NOW + 1_000_000_000, i64::MAX] {
            assert_eq!(verdict(name, at), Err("token_invalid"), "{name} {at}");
        }
    }
    for exp in [i64::MIN, 0, NOW - 1, NOW] {
        let token = ours.sign(types::ACCESS, &with("exp", Some(json!(exp)))).unwrap();
        assert_eq!(refusal(&ours, &token), "token_expired", "{exp}");
    }
    // A clock that is no clock.
    for now in [i64::MIN, i64::MAX] {
        assert!(ours.verify_access(&access(&ours), now).is_err());
    }
}

#[test]
fn one_type_is_never_taken_for_another() {
    let ours = of_secret(SECRET);
    let all = [types::ACCESS, types::CAPABILITY, types::TOTP, types::INVITE];
    // Claims that every kind would take.
    let mut any = claims();
    any["room_id"] = json!(ids().uuid());
    any["capabilities"] = json!(["call"]);
    for typ in all {
        let token = ours.sign(typ, &any).unwrap();
        for wanted in all {
            assert_eq!(ours.verify::<Value>(wanted, &token, NOW).is_ok(), typ == wanted, "{typ} as {wanted}");
        }
        assert_eq!(ours.verify_access(&token, NOW).is_ok(), typ == types::ACCESS);
        assert_eq!(ours.verify_capability(&token, NOW).is_ok(), typ == types::CAPABILITY);
    }
    let (access, capability) = (access(&ours), ours.capability_token(&ids(), grant(), NOW, 60).unwrap());
    assert_eq!(refusal(&ours, &capability), "token_invalid");
    assert_eq!(ours.verify_capability(&access, NOW).unwrap_err().code, "token_invalid");
    for typ in [json!("JWT"), json!("jwt"), json!("AT+JWT"), json!("application/at+jwt"), json!(""), json!(null)] {
        let header = json!({"alg": "HS256", "typ": typ, "kid": ours.keys[0].id});
        let sign = |text: &[u8]| jsonwebtoken::crypto::sign(text, &ours.keys[0].encoding, Algorithm::HS256).unwrap();
        assert_eq!(refusal(&ours, &token(&header, &any, sign)), "token_invalid", "{typ}");
    }
}

#[test]
fn a_capability_says_what_was_granted() {
    let ours = keys(JwtAlgorithm::EdDsa);
    let fingerprint = Confirmation::from_fingerprint(&"ab".repeat(32));
    let grant = CapabilityGrant { cnf: fingerprint.clone(), ..grant() };
    let token = ours.capability_token(&ids(), grant.clone(), NOW, 120).unwrap();
    let claims = ours.verify_capability(&token, NOW + 119).unwrap();
    assert_eq!((claims.sub, claims.sid, claims.room_id), (grant.user, grant.session, grant.room_id));
    assert_eq!((&claims.target_peer_id, &claims.capabilities), (&grant.target_peer_id, &grant.capabilities));
    assert_eq!((claims.iat, claims.exp, claims.cnf), (NOW, NOW + 120, fingerprint));
    assert_eq!(ours.verify_capability(&token, NOW + 120).unwrap_err().code, "token_expired");

    let raw: Value = ours.verify(types::CAPABILITY, &token, NOW).unwrap();
    assert_eq!(raw["capabilities"], json!(["call", "terminal:view"]));
    assert_eq!(raw["cnf"]["x5t#S256"].as_str().unwrap().len(), 43);
    let bare = CapabilityGrant { target_peer_id: None, cnf: None, ..grant };
    let bare: Value =
        ours.verify(types::CAPABILITY, &ours.capability_token(&ids(), bare, NOW, 60).unwrap(), NOW).unwrap();
    assert!(bare.get("cnf").is_none() && bare.get("target_peer_id").is_none(), "{bare}");
    for name in ["sub", "sid", "jti", "room_id", "capabilities"] {
        let mut without = raw.clone();
        without.as_object_mut().unwrap().remove(name);
        assert!(ours.verify_capability(&ours.sign(types::CAPABILITY, &without).unwrap(), NOW).is_err(), "{name}");
    }
    let mut unknown = raw;
    unknown["capabilities"] = json!(["call", "everything"]);
    assert!(ours.verify_capability(&ours.sign(types::CAPABILITY, &unknown).unwrap(), NOW).is_err());
}

#[test]
fn the_newest_secret_signs_and_all_verify() {
    let (new, old) = ("a new secret that has never been in use", SECRET);
    let (before, after) = (of_secret(old), of_secret(&format!("{new}, {old}")));
    let (first, second) = (access(&before), access(&after));
    assert!(after.verify_access(&first, NOW).is_ok() && after.verify_access(&second, NOW).is_ok());
    assert_eq!(refusal(&before, &second), "token_invalid");
    assert_eq!(refusal(&of_secret(new), &first), "token_invalid");
    assert!(of_secret(new).verify_access(&second, NOW).is_ok());
    let (kid, old_kid) = (header_of(&second)["kid"].clone(), header_of(&first)["kid"].clone());
    assert_ne!(kid, old_kid);
    assert_eq!(kid.as_str().unwrap().len(), 12);

    let key = EncodingKey::from_secret(old.as_bytes());
    let sign = |text: &[u8]| jsonwebtoken::crypto::sign(text, &key, Algorithm::HS256).unwrap();
    // Without a name every key is tried; a name is binding.
    assert!(after.verify_access(&token(&json!({"alg": "HS256", "typ": "at+jwt"}), &claims(), sign), NOW).is_ok());
    for kid in [kid, json!("unknown"), json!(""), json!(5)] {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid});
        assert_eq!(refusal(&after, &token(&header, &claims(), sign)), "token_invalid", "{header}");
    }
    assert_eq!(of_secret(&format!("{new},{new}")).keys.len(), 1, "the same twice is one");
    assert_eq!(of_secret(&format!("{new},short")).keys.len(), 1);
    assert_eq!(after.jwks(), json!({"keys": []}));
}

#[test]
fn the_first_key_of_a_file_signs_and_all_verify() {
    for algorithm in [JwtAlgorithm::EdDsa, JwtAlgorithm::Es256] {
        let (new, old) = (pem(algorithm), pem(algorithm));
        let before = of_pem(algorithm, &old).unwrap();
        let after = of_pem(algorithm, &format!("of August\n{new}of July\n{old}{new}")).unwrap();
        let (first, second) = (access(&before), access(&after));
        assert!(after.verify_access(&first, NOW).is_ok() && after.verify_access(&second, NOW).is_ok());
        assert_eq!(refusal(&before, &second), "token_invalid");
        let published = after.jwks()["keys"].as_array().unwrap().clone();
        assert_eq!(published.len(), 2, "the same twice is one");
        assert_eq!(published[0]["kid"], header_of(&second)["kid"]);
        assert_eq!(published[1]["kid"], header_of(&first)["kid"]);
        let key = &before.keys[0].encoding;
        let sign = |text: &[u8]| jsonwebtoken::crypto::sign(text, key, before.algorithm).unwrap();
        let nameless = json!({"alg": algorithm.as_str(), "typ": "at+jwt"});
        assert!(after.verify_access(&token(&nameless, &claims(), sign), NOW).is_ok());
        let misnamed = json!({"alg": algorithm.as_str(), "typ": "at+jwt", "kid": published[0]["kid"]});
        assert_eq!(refusal(&after, &token(&misnamed, &claims(), sign)), "token_invalid");
    }
}

#[test]
fn the_published_keys_are_public_and_verify() {
    for (algorithm, kty, members) in [
        (JwtAlgorithm::EdDsa, "OKP", &["crv", "x"] as &[&str]),
        (JwtAlgorithm::Es256, "EC", &["crv", "x", "y"]),
        (JwtAlgorithm::Rs256, "RSA", &["e", "n"]),
    ] {
        let ours = keys(algorithm);
        let set = ours.jwks();
        let jwk = &set["keys"][0];
        assert_eq!((&jwk["kty"], &jwk["use"], &jwk["alg"]), (&json!(kty), &json!("sig"), &json!(algorithm.as_str())));
        let mut names: Vec<&str> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut wanted = [members, &["alg", "kid", "kty", "use"]].concat();
        wanted.sort_unstable();
        assert_eq!(names, wanted, "nothing else, above all no `d`");
        assert_eq!(jwk["kid"].as_str().unwrap().len(), 43);
        let read: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let print = read.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(jwk["kid"], json!(print));
        let key = DecodingKey::from_jwk(&read).unwrap();
        let mut theirs = jsonwebtoken::Validation::new(ours.algorithm);
        theirs.validate_exp = false;
        assert!(jsonwebtoken::decode::<Value>(access(&ours), &key, &theirs).is_ok());
    }
    for algorithm in [JwtAlgorithm::Hs256, JwtAlgorithm::Hs384, JwtAlgorithm::Hs512] {
        assert_eq!(keys(algorithm).jwks(), json!({"keys": []}));
    }
}
