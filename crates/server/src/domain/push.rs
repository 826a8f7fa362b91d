//! When and how somebody who is away is told.

use jiff::{Timestamp, tz::TimeZone};
use mesh_protocol::push::{Locale, NotificationLevel, PushKind};

/// What is more urgent waits for nothing; the scale is Gotify's, 0 to 10.
pub const RING: u8 = 8;
/// Mentions, direct messages, missed calls.
pub const PERSONAL: u8 = 6;
/// Everything else.
pub const ORDINARY: u8 = 4;

/// How long a message waits before it leaves: for others that join it, and for the person to come or read.
pub const HOLD_MS: i64 = 3_000;
/// What a process that ended had left waits so long after the next start: whoever was connected comes back first.
pub const BACK_MS: i64 = 5_000;
/// How long the next of a room waits after one left, so that a talk is not a storm.
pub const WINDOW_MS: i64 = 60_000;
/// A ring that is older than this helps nobody.
pub const RING_MS: i64 = 60_000;
/// After so long without success a notification is dead.
pub const DEAD_MS: i64 = 86_400_000;

const FIRST_WAIT_MS: i64 = 1_000;
const LONGEST_WAIT_MS: i64 = 900_000;

/// How long to wait after so many failures, from 1 s to 15 min; `random` spreads those who failed together by a quarter.
pub fn backoff(failures: u64, random: u32) -> i64 {
    let doubled = FIRST_WAIT_MS.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let base = doubled.min(LONGEST_WAIT_MS);
    let spread = base / 2 * i64::from(random) / i64::from(u32::MAX);
    (base * 3 / 4 + spread).clamp(FIRST_WAIT_MS, LONGEST_WAIT_MS)
}

/// Quiet hours: minutes of the day in a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The first quiet minute.
    pub from: u16,
    /// The first that is not.
    pub to: u16,
}

/// The time zone of a name; the tables are in the binary.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    let zone = TimeZone::get(name).ok()?;
    zone.iana_name().is_some().then_some(zone)
}

/// Reads `HH:MM` as a minute of the day.
pub fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str, below: u16| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u16>().ok().filter(|n| digits && *n < below)
    };
    Some(two(hour, 24)? * 60 + two(minute, 60)?)
}

/// A minute of the day as `HH:MM`.
pub fn clock_face(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// When the quiet hours end, Unix milliseconds; none outside them.
pub fn quiet_until(quiet: Quiet, zone: &TimeZone, now: i64) -> Option<i64> {
    let local = Timestamp::from_millisecond(now).ok()?.to_zoned(zone.clone());
    let minute = u16::try_from(local.hour()).ok()? * 60 + u16::try_from(local.minute()).ok()?;
    let over_midnight = quiet.from > quiet.to;
    let inside = if over_midnight {
        minute >= quiet.from || minute < quiet.to
    } else {
        minute >= quiet.from && minute < quiet.to
    };
    if !inside {
        return None;
    }
    let date = if over_midnight && minute >= quiet.from { local.date().tomorrow().ok()? } else { local.date() };
    let time = |n: u16| i8::try_from(n).unwrap_or(0);
    let end = date.at(time(quiet.to / 60), time(quiet.to % 60), 0, 0).to_zoned(zone.clone()).ok()?;
    let end = end.timestamp().as_millisecond();
    // In the hour that autumn repeats, the first of the two may be over: then by minutes.
    let minutes = i64::from((quiet.to + 1_440 - minute) % 1_440).max(1);
    Some(if end > now { end } else { now + minutes * 60_000 })
}

/// Whether a member wants to hear of something in a room. A ring between two is for the person, and comes through
/// whatever they set for the room; one of a whole room does not where they want to hear nothing of it.
pub fn wanted(
    kind: PushKind,
    personal: bool,
    direct: bool,
    level: NotificationLevel,
    muted_until: Option<i64>,
    now: i64,
) -> bool {
    if kind == PushKind::Ring && direct {
        return true;
    }
    if muted_until.is_some_and(|until| until > now) {
        return false;
    }
    match level {
        NotificationLevel::All => true,
        NotificationLevel::Mentions => personal || direct || kind != PushKind::Message,
        NotificationLevel::None => false,
    }
}

/// How urgent something is.
pub fn priority(kind: PushKind, personal: bool, direct: bool) -> u8 {
    match kind {
        PushKind::Ring => RING,
        PushKind::Missed => PERSONAL,
        PushKind::Message if personal || direct => PERSONAL,
        PushKind::Message => ORDINARY,
    }
}

/// How much leaves the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushContent {
    /// The text too.
    Full,
    /// Who and where.
    Sender,
    /// Only that something is new.
    None,
}

impl PushContent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Full, Self::Sender, Self::None];

    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Sender => "sender",
            Self::None => "none",
        }
    }
}

/// What a notification is made of.
pub struct Facts<'a> {
    /// What it tells of.
    pub kind: PushKind,
    /// Who wrote or called last; where one of several messages names the reader, who wrote that.
    pub author: &'a str,
    /// The room's name; none for a direct one.
    pub room: Option<&'a str>,
    /// How many messages or calls.
    pub count: u64,
    /// Whether one of them names the reader.
    pub named: bool,
    /// What they said, where it may be told.
    pub text: Option<&'a str>,
}

/// The texts: one row a language. `{a}` is the author, `{r}` the room, `{n}` a number from 2 on.
struct Texts {
    something: &'static str,
    message: &'static str,
    messages: &'static str,
    messages_in: &'static str,
    last: &'static str,
    named: &'static str,
    rings: &'static str,
    rings_in: &'static str,
    missed: &'static str,
    missed_in: &'static str,
    missed_many: &'static str,
    missed_many_in: &'static str,
    last_call: &'static str,
    test: &'static str,
}

const EN: Texts = Texts {
    something: "Something new",
    message: "New message from {a}",
    messages: "{n} new messages from {a}",
    messages_in: "{n} new messages in {r}",
    last: "The last is from {a}",
    named: "{a} mentioned you in {r}",
    rings: "{a} is calling",
    rings_in: "{a} is calling in {r}",
    missed: "Missed call from {a}",
    missed_in: "Missed call from {a} in {r}",
    missed_many: "{n} missed calls from {a}",
    missed_many_in: "{n} missed calls in {r}",
    last_call: "The last was from {a}",
    test: "Notifications work.",
};

/// Worded so that no name follows "de", which some of them would shorten; colons have their no-break space.
const FR: Texts = Texts {
    something: "Du nouveau",
    message: "{a} vous a écrit",
    messages: "{a}\u{a0}: {n} nouveaux messages",
    messages_in: "{n} nouveaux messages dans {r}",
    last: "Le dernier\u{a0}: {a}",
    named: "{a} vous mentionne dans {r}",
    rings: "{a} appelle",
    rings_in: "{a} appelle dans {r}",
    missed: "Appel manqué\u{a0}: {a}",
    missed_in: "Appel manqué dans {r}\u{a0}: {a}",
    missed_many: "{a}\u{a0}: {n} appels manqués",
    missed_many_in: "{n} appels manqués dans {r}",
    last_call: "Le dernier\u{a0}: {a}",
    test: "Les notifications fonctionnent.",
};

fn texts(locale: Locale) -> &'static Texts {
    match locale {
        Locale::En => &EN,
        Locale::Fr => &FR,
    }
}

/// What a test says.
pub fn test_text(locale: Locale) -> &'static str {
    texts(locale).test
}

/// Title and message. Names are put in last, so that what they hold is not read as a place for another.
pub fn compose(facts: &Facts<'_>, locale: Locale, content: PushContent) -> (String, String) {
    let texts = texts(locale);
    if content == PushContent::None {
        return ("Mesh".to_owned(), texts.something.to_owned());
    }
    let fill = |pattern: &str| {
        let mut out = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (place, after) = after.split_once('}').unwrap_or((after, ""));
            match place {
                "a" => out.push_str(facts.author),
                "r" => out.push_str(facts.room.unwrap_or_default()),
                _ => out.push_str(&facts.count.to_string()),
            }
            rest = after;
        }
        out + rest
    };
    let many = facts.count > 1;
    let head = match (facts.kind, facts.room) {
        (PushKind::Ring, None) => fill(texts.rings),
        (PushKind::Ring, Some(_)) => fill(texts.rings_in),
        (PushKind::Missed, None) if many => fill(texts.missed_many),
        (PushKind::Missed, Some(_)) if many => fill(texts.missed_many_in),
        (PushKind::Missed, None) => fill(texts.missed),
        (PushKind::Missed, Some(_)) => fill(texts.missed_in),
        (PushKind::Message, Some(_)) if facts.named => fill(texts.named),
        (PushKind::Message, Some(_)) if many => fill(texts.messages_in),
        (PushKind::Message, None) if many => fill(texts.messages),
        (PushKind::Message, Some(room)) => room.to_owned(),
        (PushKind::Message, None) => facts.author.to_owned(),
    };
    let said = facts.text.filter(|text| content == PushContent::Full && !text.is_empty());
    let body = match (facts.kind, said, facts.room) {
        (PushKind::Message, Some(text), Some(_)) => format!("{}: {text}", facts.author),
        (PushKind::Message, Some(text), None) => text.to_owned(),
        (PushKind::Message, None, Some(_)) if many && facts.named => fill(texts.messages_in),
        (PushKind::Message, None, Some(_)) if many => fill(texts.last),
        (PushKind::Message, None, None) if many => head.clone(),
        (PushKind::Message, None, _) => fill(texts.message),
        (PushKind::Missed, _, Some(_)) if many => fill(texts.last_call),
        _ => head.clone(),
    };
    (head, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_from_a_second_to_a_quarter_of_an_hour() {
        assert_eq!((backoff(1, 0), backoff(1, u32::MAX)), (1_000, 1_250));
        assert_eq!((backoff(4, 0), backoff(4, u32::MAX)), (6_000, 10_000));
        for failures in [11, 12, 64, u64::MAX] {
            assert_eq!((backoff(failures, 0), backoff(failures, u32::MAX)), (675_000, 900_000));
        }
    }

    #[test]
    fn quiet_hours_end_on_the_wall_of_the_time_zone() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let zone = time_zone("europe/paris").unwrap();
        let night = Quiet { from: 22 * 60, to: 7 * 60 };
        for (now, end) in [
            ("2026-01-10T20:59:59Z", None),
            ("2026-01-10T21:00:00Z", Some("2026-01-11T06:00:00Z")),
            ("2026-01-11T05:59:59Z", Some("2026-01-11T06:00:00Z")),
            ("2026-01-11T06:00:00Z", None),
            // The night that has an hour less, and the one that has an hour more.
            ("2026-03-28T21:30:00Z", Some("2026-03-29T05:00:00Z")),
            ("2026-10-24T20:30:00Z", Some("2026-10-25T06:00:00Z")),
        ] {
            assert_eq!(quiet_until(night, &zone, at(now)), end.map(at), "{now}");
        }
        let noon = Quiet { from: 12 * 60, to: 14 * 60 };
        assert_eq!(quiet_until(noon, &TimeZone::UTC, at("2026-01-10T13:00:00Z")), Some(at("2026-01-10T14:00:00Z")));
        // 02:30 comes twice that night; the second time, the first is over.
        let short = Quiet { from: 60, to: 150 };
        let until = quiet_until(short, &zone, at("2026-10-25T01:10:00Z")).unwrap();
        assert_eq!(until, at("2026-10-25T01:30:00Z"));
        assert!(time_zone("Mars/Olympus").is_none() && time_zone("").is_none());
        assert_eq!((minute("07:05"), minute("7:05"), minute("24:00"), minute("+1:00")), (Some(425), None, None, None));
    }

    #[test]
    fn levels() {
        use NotificationLevel::{All, Mentions, None as Nothing};
        let wanted = |kind, personal, direct, level, muted| wanted(kind, personal, direct, level, muted, 10);
        assert!(wanted(PushKind::Message, false, false, All, None));
        assert!(!wanted(PushKind::Message, false, false, Mentions, None));
        assert!(wanted(PushKind::Message, true, false, Mentions, None));
        assert!(wanted(PushKind::Message, false, true, Mentions, None));
        assert!(!wanted(PushKind::Message, true, true, Nothing, None));
        assert!(!wanted(PushKind::Message, true, true, All, Some(11)));
        assert!(wanted(PushKind::Message, true, true, All, Some(10)));
        assert!(wanted(PushKind::Ring, false, true, Nothing, Some(11)));
        assert!(wanted(PushKind::Ring, false, false, Mentions, Some(10)));
        assert!(!wanted(PushKind::Ring, false, false, Nothing, None));
        assert!(!wanted(PushKind::Ring, false, false, All, Some(11)));
        assert!(wanted(PushKind::Missed, false, false, Mentions, None));
        assert!(!wanted(PushKind::Missed, false, false, Nothing, None));
    }

    #[test]
    fn texts_in_both_languages_tell_what_they_may() {
        let facts = |count, named, room| Facts {
            kind: PushKind::Message,
            author: "Ana {r}",
            room,
            count,
            named,
            text: Some("the soup"),
        };
        let said = |facts: &Facts<'_>, locale, content| {
            let (title, message) = compose(facts, locale, content);
            format!("{title} | {message}")
        };
        let (full, sender) = (PushContent::Full, PushContent::Sender);
        let room = Some("Cuisine");
        assert_eq!(said(&facts(1, false, room), Locale::En, full), "Cuisine | Ana {r}: the soup");
        assert_eq!(said(&facts(3, false, room), Locale::En, full), "3 new messages in Cuisine | Ana {r}: the soup");
        assert_eq!(
            said(&facts(3, false, room), Locale::Fr, sender),
            "3 nouveaux messages dans Cuisine | Le dernier\u{a0}: Ana {r}"
        );
        assert_eq!(
            said(&facts(1, true, room), Locale::Fr, sender),
            "Ana {r} vous mentionne dans Cuisine | Ana {r} vous a écrit"
        );
        assert_eq!(
            said(&facts(3, true, room), Locale::En, sender),
            "Ana {r} mentioned you in Cuisine | 3 new messages in Cuisine"
        );
        assert_eq!(said(&facts(1, false, None), Locale::En, full), "Ana {r} | the soup");
        assert_eq!(said(&facts(1, false, None), Locale::Fr, sender), "Ana {r} | Ana {r} vous a écrit");
        let two = said(&facts(2, false, None), Locale::Fr, sender);
        assert_eq!(two, "Ana {r}\u{a0}: 2 nouveaux messages | Ana {r}\u{a0}: 2 nouveaux messages");
        let call = |kind, count, room| Facts { kind, count, ..facts(1, false, room) };
        for (kind, count, room, english, french) in [
            (PushKind::Ring, 1, None, "Ana {r} is calling", "Ana {r} appelle"),
            (PushKind::Ring, 2, room, "Ana {r} is calling in Cuisine", "Ana {r} appelle dans Cuisine"),
            (PushKind::Missed, 1, None, "Missed call from Ana {r}", "Appel manqué\u{a0}: Ana {r}"),
            (
                PushKind::Missed,
                1,
                room,
                "Missed call from Ana {r} in Cuisine",
                "Appel manqué dans Cuisine\u{a0}: Ana {r}",
            ),
            (PushKind::Missed, 2, None, "2 missed calls from Ana {r}", "Ana {r}\u{a0}: 2 appels manqués"),
            (PushKind::Missed, 2, room, "2 missed calls in Cuisine", "2 appels manqués dans Cuisine"),
        ] {
            let facts = call(kind, count, room);
            assert_eq!(compose(&facts, Locale::En, full).0, english);
            assert_eq!(compose(&facts, Locale::Fr, full).0, french);
        }
        for locale in [Locale::En, Locale::Fr] {
            let nothing = said(&facts(2, true, room), locale, PushContent::None);
            assert!(!nothing.contains("Ana") && !nothing.contains("Cuisine") && !nothing.contains("soup"), "{nothing}");
            assert!(!said(&facts(2, true, room), locale, sender).contains("soup"));
        }
    }
}
