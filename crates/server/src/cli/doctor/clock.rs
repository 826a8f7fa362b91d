//! Whether this machine's clock goes with others'.

use super::{Check, Foreign, trouble};

/// A clock that is off by more makes codes, tokens and TURN credentials fail; seconds. A `Date` is whole seconds, and may
/// have been on its way for a while.
const TOLERANCE: i64 = 10;

pub(super) fn check(seen: &[Foreign]) -> Check {
    const NAME: &str = "clock";
    if seen.is_empty() {
        return Check::skipped(NAME, "nobody told the time: neither the public URL nor another machine answered");
    }
    let words = |f: &Foreign| match f.ahead_ms / 1000 {
        0 => format!("with that of {}", f.whose),
        seconds if seconds > 0 => format!("{seconds} s behind that of {}", f.whose),
        seconds => format!("{} s ahead of that of {}", -seconds, f.whose),
    };
    let off: Vec<_> = seen.iter().filter(|f| f.ahead_ms.abs() > TOLERANCE * 1000).collect();
    if off.is_empty() {
        let list: Vec<_> = seen.iter().map(words).collect();
        return Check::of(NAME, Ok(format!("this machine's clock goes {}", list.join(", "))));
    }
    let list: Vec<_> = off.into_iter().map(words).collect();
    let mend = "switch time synchronisation on, on this machine and on the other (timedatectl set-ntp true): tokens, \
                codes of second factors and TURN credentials depend on it";
    Check::of(NAME, Err(trouble(format!("this machine's clock goes {}", list.join(", ")), mend)))
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn only_a_clock_that_is_off_fails() {
        let at = |whose, ahead_ms| Foreign { whose, ahead_ms };
        assert!(check(&[]).status == Status::Skipped);
        assert!(check(&[at("a", 9_900), at("b", -400)]).status == Status::Ok);
        let off = check(&[at("the database", 61_000), at("b", 0)]);
        assert!(off.status == Status::Failed);
        assert_eq!(off.sentence, "this machine's clock goes 61 s behind that of the database");
        assert!(check(&[at("b", -11_000)]).sentence.contains("11 s ahead of"));
    }
}
