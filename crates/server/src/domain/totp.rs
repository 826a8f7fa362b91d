//! Codes of an authenticator app (RFC 6238: SHA-1, six digits, thirty seconds), and what stands in for them.

use totp_rs::{Algorithm, Builder, Secret, Totp};

/// Bytes of a secret: as long as SHA-1's output (RFC 4226, section 4).
pub const SECRET: usize = 20;
/// Bytes of randomness in a recovery code.
pub const RECOVERY: usize = 10;
/// Seconds of a time step.
const STEP: u64 = 30;
/// Steps by which the two clocks may differ.
const SKEW: u16 = 1;
/// Whose codes these are, as an authenticator app shows it.
const ISSUER: &str = "Mesh%20Server";
/// Without the characters that people confuse.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

fn totp(secret: &[u8]) -> Option<Totp> {
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(STEP);
    builder.with_skew(SKEW).with_secret(secret.to_vec()).build().ok()
}

/// The time step whose code this is, one before or after `now` (Unix seconds) at most; none for any other text.
pub fn step_of(secret: &[u8], code: &str, now: i64) -> Option<i64> {
    let step = totp(secret)?.check(code, u64::try_from(now).ok()?)?;
    i64::try_from(step).ok()
}

/// A secret in base32, as people type it.
pub fn base32(secret: &[u8; SECRET]) -> String {
    Secret::from(*secret).to_base32()
}

/// A secret as authenticator apps read it from a QR code. A user name has no character that a URI does not.
pub fn otpauth_url(username: &str, secret: &str) -> String {
    format!("otpauth://totp/{ISSUER}:{username}?secret={secret}&issuer={ISSUER}&algorithm=SHA1&digits=6&period={STEP}")
}

/// A recovery code of random bytes: four groups of four.
pub fn recovery_code(random: &[u8; RECOVERY]) -> String {
    let mut out = String::with_capacity(19);
    let (mut held, mut bits) = (0_usize, 0);
    for byte in random {
        held = held << 8 | usize::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            if out.len() % 5 == 4 {
                out.push('-');
            }
            out.extend(ALPHABET.get(held >> bits & 31).map(|letter| char::from(*letter)));
        }
        held &= (1 << bits) - 1;
    }
    out
}

/// What somebody typed: apps and people put spaces and dashes between groups, and don't care for case.
pub fn normal(code: &str) -> String {
    let kept = code.chars().filter(|c| !c.is_whitespace() && *c != '-');
    kept.take(64).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, of whose eight digits these are the last six.
        let secret = b"12345678901234567890";
        for (now, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(step_of(secret, code, now), Some(now / 30));
            assert_eq!(step_of(secret, code, now + 30), Some(now / 30), "the step before");
            assert_eq!(step_of(secret, code, now - 30), Some(now / 30), "the step after");
            assert_eq!(step_of(secret, code, now + 60), None);
            assert_eq!(step_of(secret, code, now - 60), None);
        }
        for bad in ["", "28708", "2870822", "+87082", "２８７０８２", "abcdef"] {
            assert_eq!(step_of(secret, bad, 59), None, "{bad}");
        }
        assert_eq!(step_of(b"short", "287082", 59), None);
    }

    #[test]
    fn secrets_are_told_as_apps_read_them() {
        let text = base32(b"12345678901234567890");
        assert_eq!(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let url = otpauth_url("ana", &text);
        assert!(url.starts_with("otpauth://totp/Mesh%20Server:ana?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer="));
    }

    #[test]
    fn recovery_codes_hold_all_their_randomness() {
        assert_eq!(recovery_code(&[0; RECOVERY]), "aaaa-aaaa-aaaa-aaaa");
        assert_eq!(recovery_code(&[255; RECOVERY]), "9999-9999-9999-9999");
        let mut seen = std::collections::HashSet::new();
        for bit in 0..80 {
            let mut random = [0; RECOVERY];
            random[bit / 8] = 1 << (bit % 8);
            assert!(seen.insert(recovery_code(&random)));
        }
        assert_eq!(normal(" ABCD-efgh ijkm\u{a0}npqr\n"), "abcdefghijkmnpqr");
    }
}
