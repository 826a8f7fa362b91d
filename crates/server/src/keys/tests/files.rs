//! Key files, as the server makes them and as others do.

use super::*;

/// An RSA key that is too short to sign anything.
fn short_rsa() -> String {
    use rsa::pkcs8::EncodePrivateKey as _;
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
    key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

/// Runs `openssl`; nothing where there is none.
fn openssl(args: &str) -> Option<String> {
    let output = std::process::Command::new("openssl").args(args.split(' ')).output().ok()?;
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn keys_are_made_at_the_first_start_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}", folder.path().join("mesh.db").display());
    for (algorithm, name) in [(JwtAlgorithm::EdDsa, "mesh.eddsa.pem"), (JwtAlgorithm::Es256, "mesh.es256.pem")] {
        let pairs =
            [("DATABASE_URL", url.as_str()), ("MESH_JWT_ALGORITHM", algorithm.as_str()), ("MESH_PUBLIC_URL", ISSUER)];
        let config = Config::from_pairs(&pairs).unwrap();
        let load = || Keys::load(&config, &Secret::new(SECRET), &ids()).unwrap();
        let (first, again) = (load(), load());
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n") && text.ends_with("-----END PRIVATE KEY-----\n"));
        assert_eq!(first.jwks(), again.jwks());
        assert!(again.verify_access(&access(&first), NOW).is_ok());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
    // Beside no database there is none.
    let memory = try_load(JwtAlgorithm::EdDsa, SECRET, None, ISSUER).unwrap();
    assert_ne!(memory.jwks(), try_load(JwtAlgorithm::EdDsa, SECRET, None, ISSUER).unwrap().jwks());
}

#[test]
fn servers_that_start_at_once_share_one_key() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.pem"));
        let load = || try_load(JwtAlgorithm::Es256, SECRET, Some(&path), ISSUER).unwrap().jwks();
        let sets: Vec<Value> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(sets.iter().all(|set| *set == sets[0]), "{sets:?}");
    }
}

#[test]
fn a_file_that_cannot_sign_is_refused_in_one_line_that_tells_nothing_of_it() {
    let (ed, ec, rsa) = (pem(JwtAlgorithm::EdDsa), pem(JwtAlgorithm::Es256), pem(JwtAlgorithm::Rs256));
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let encrypted = rsa.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let old_encrypted =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let cut = |text: &str| format!("{}\n-----END PRIVATE KEY-----\n", &text[..60]);
    let short = short_rsa();
    let mixed = format!("{ed}{ec}");
    let cases = [
        (JwtAlgorithm::EdDsa, "", "holds no private key"),
        (JwtAlgorithm::EdDsa, "hunter2", "holds no private key"),
        (JwtAlgorithm::EdDsa, &ed[..60], "holds no private key"),
        (JwtAlgorithm::EdDsa, &cut(&ed), "is damaged"),
        (JwtAlgorithm::EdDsa, public, "is no private key; expected an Ed25519 key"),
        (JwtAlgorithm::EdDsa, &ec, "is an elliptic curve key; expected an Ed25519 key, for MESH_JWT_ALGORITHM=EdDSA"),
        (JwtAlgorithm::EdDsa, &mixed, "block 2 is an elliptic curve key"),
        (JwtAlgorithm::Es256, &rsa, "is an RSA key; expected a P-256 key"),
        (JwtAlgorithm::Rs256, &ed, "is an Ed25519 key; expected an RSA key"),
        (JwtAlgorithm::Rs256, &encrypted, "is encrypted"),
        (JwtAlgorithm::Rs256, old_encrypted, "is encrypted or damaged"),
        (JwtAlgorithm::Rs256, &short, "has 1024 bits; expected an RSA key of 2048 to 4096 bits"),
    ];
    for (algorithm, text, words) in cases {
        let error = of_pem(algorithm, text).err().unwrap_or_else(|| panic!("{words} is taken"));
        assert!(error.starts_with("MESH_JWT_PRIVATE_KEY_FILE: ") && error.contains(words), "{error}");
        assert!(error.contains("keys.pem") && !error.contains('\n'), "{error}");
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("--")) {
            assert!(!error.contains(line), "{error}");
        }
    }
    let error = of_pem(JwtAlgorithm::EdDsa, &"x".repeat(70_000)).err().unwrap();
    assert!(error.contains("larger than 64 KiB"), "{error}");
}

#[test]
fn keys_of_openssl_are_read_in_all_their_forms() {
    let cases = [
        (JwtAlgorithm::EdDsa, "genpkey -algorithm ed25519"),
        (JwtAlgorithm::Es256, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        (JwtAlgorithm::Es256, "ecparam -name prime256v1 -genkey"),
        (JwtAlgorithm::Rs256, "genrsa -traditional 2048"),
        (JwtAlgorithm::Rs256, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"),
    ];
    for (algorithm, args) in cases {
        let Some(text) = openssl(args) else { return };
        for text in [text.clone(), text.replace('\n', "\r\n"), format!("\u{feff}a key\n{text}")] {
            let ours = of_pem(algorithm, &text).unwrap();
            assert!(ours.verify_access(&access(&ours), NOW).is_ok(), "{args}");
        }
    }
    let other = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384").unwrap();
    assert!(of_pem(JwtAlgorithm::Es256, &other).err().unwrap().contains("of another curve"));
    let other = openssl("genpkey -algorithm ed448").unwrap();
    assert!(of_pem(JwtAlgorithm::EdDsa, &other).err().unwrap().contains("a key of another kind"));
    let long = openssl("genrsa 5120");
    assert!(of_pem(JwtAlgorithm::Rs256, &long.unwrap()).err().unwrap().contains("5120 bits"));
}
