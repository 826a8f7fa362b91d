//! What is sealed and derived.

use super::*;

#[test]
fn what_is_sealed_opens_for_its_purpose_alone() {
    let ours = of_secret(SECRET);
    let sealed = ours.seal("totp:ana", b"JBSWY3DPEHPK3PXP").unwrap();
    assert_eq!(ours.open("totp:ana", &sealed).as_deref(), Some(&b"JBSWY3DPEHPK3PXP"[..]));
    assert!(sealed.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{sealed}");
    assert_ne!(ours.seal("totp:ana", b"JBSWY3DPEHPK3PXP").unwrap(), sealed, "a nonce of its own each time");
    for purpose in ["totp:bo", "totp:", "", "totp:ana "] {
        assert_eq!(ours.open(purpose, &sealed), None, "{purpose}");
    }
    assert_eq!(of_secret(OLD).open("totp:ana", &sealed), None);
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&sealed).unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert_eq!(ours.open("totp:ana", &BASE64_URL_SAFE_NO_PAD.encode(changed)), None, "byte {place}");
        assert_eq!(ours.open("totp:ana", &BASE64_URL_SAFE_NO_PAD.encode(&bytes[..place])), None, "{place} bytes");
    }
    for garbage in ["", "=", "not sealed at all", &format!("{sealed}A")] {
        assert_eq!(ours.open("totp:ana", garbage), None);
    }
    assert_eq!(ours.open("x", &ours.seal("x", b"").unwrap()).as_deref(), Some(&b""[..]));
}

#[test]
fn what_an_old_secret_sealed_and_derived_still_holds() {
    let new = "a new secret that has never been in use";
    let (before, after) = (of_secret(SECRET), of_secret(&format!("{new},{SECRET}")));
    let sealed = before.seal("gotify", b"token").unwrap();
    assert_eq!(after.open("gotify", &sealed).as_deref(), Some(&b"token"[..]));
    let resealed = after.seal("gotify", b"token").unwrap();
    assert_eq!((before.open("gotify", &resealed), of_secret(new).open("gotify", &sealed)), (None, None));
    assert_eq!(of_secret(new).open("gotify", &resealed).as_deref(), Some(&b"token"[..]));

    let derived = before.derive("refresh", &[b"a", b"b"]);
    assert_ne!(after.derive("refresh", &[b"a", b"b"]), derived);
    assert!(after.is_derived("refresh", &[b"a", b"b"], &derived));
    assert!(!of_secret(new).is_derived("refresh", &[b"a", b"b"], &derived));
    // With private keys it is the same secret that seals and derives.
    let asymmetric = keys(JwtAlgorithm::EdDsa);
    assert_eq!(asymmetric.derive("refresh", &[b"a", b"b"]), derived);
    assert!(asymmetric.open("gotify", &sealed).is_some());
}

#[test]
fn what_is_derived_depends_on_purpose_and_every_part() {
    let ours = of_secret(SECRET);
    let one = ours.derive("refresh", &[b"ab", b"c"]);
    assert_eq!(ours.derive("refresh", &[b"ab", b"c"]), one);
    let others: [(&str, &[&[u8]]); 6] = [
        ("refresh", &[b"a", b"bc"]),
        ("refresh", &[b"abc"]),
        ("refresh", &[b"ab", b"c", b""]),
        ("refresh", &[]),
        ("refres", &[b"hab", b"c"]),
        ("ticket", &[b"ab", b"c"]),
    ];
    for (purpose, parts) in others {
        assert_ne!(ours.derive(purpose, parts), one, "{purpose} {parts:?}");
        assert!(!ours.is_derived(purpose, parts, &one));
    }
    assert!(ours.is_derived("refresh", &[b"ab", b"c"], &one));
    for short in [&one[..31], &one[..0], &[&one[..], &[0]].concat()] {
        assert!(!ours.is_derived("refresh", &[b"ab", b"c"], short));
    }
}
