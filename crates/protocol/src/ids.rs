//! Identifiers: newtypes, so that a room's id is never passed for a user's.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, Type, schema::Schema};
use uuid::Uuid;

use crate::limits::MAX_ID_CHARS;

pub(crate) fn string_schema(format: &str, description: &str) -> RefOr<Schema> {
    let format = match format {
        "date-time" => SchemaFormat::KnownFormat(KnownFormat::DateTime),
        other => SchemaFormat::Custom(other.to_owned()),
    };
    ObjectBuilder::new().schema_type(Type::String).format(Some(format)).description(Some(description)).into()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// A UUIDv7 string on the wire. Ids are opaque to clients: a string that is no UUID names nothing, so it
        /// reads as an id that no object ever has, and is answered like any absent one.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id that no object has.
            pub const NOTHING: Self = Self(Uuid::nil());

            /// Wraps a UUID.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// Reads an id; what is no UUID is [`Self::NOTHING`].
            pub fn parse(text: &str) -> Self {
                Self(Uuid::try_parse(text).unwrap_or(Uuid::nil()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::parse(&<Cow<'de, str>>::deserialize(deserializer)?))
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "format": "uuid"})
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                string_schema("uuid", concat!("UUIDv7 (", stringify!($name), ")"))
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

uuid_id!(
    /// An account.
    UserId
);
uuid_id!(
    /// A room.
    RoomId
);
uuid_id!(
    /// A message.
    MessageId
);
uuid_id!(
    /// A login; it outlives connections and access tokens.
    SessionId
);
uuid_id!(
    /// A session between two agents.
    P2pSessionId
);

/// A connection's name: 1–64 of `A-Za-z0-9._-`, held by one user at a time. Copies share their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Arc<str>);

impl PeerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPeerId;

impl fmt::Display for InvalidPeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a peer id is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and not \"server\"")
    }
}

impl std::error::Error for InvalidPeerId {}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=MAX_ID_CHARS).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            // "server" is how the server signs: a peer of that name could speak as it.
            && text != "server";
        if fits { Ok(Self(text.into())) } else { Err(InvalidPeerId) }
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for PeerId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PeerId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"})
    }
}

impl utoipa::PartialSchema for PeerId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9._-]{1,64}$")).into()
    }
}

impl utoipa::ToSchema for PeerId {}

/// A call's name, made by whoever begins it: 1–64 characters. Two peers and a room belong to it, so that a call of
/// several has one name and a part for each two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CallId(Box<str>);

impl CallId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no call id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCallId;

impl fmt::Display for InvalidCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a call id is 1 to 64 characters, none of them a control character")
    }
}

impl std::error::Error for InvalidCallId {}

impl FromStr for CallId {
    type Err = InvalidCallId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let short = text.len() <= MAX_ID_CHARS || text.chars().count() <= MAX_ID_CHARS;
        let fits = !text.is_empty() && short && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.into())) } else { Err(InvalidCallId) }
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for CallId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CallId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_checked() {
        assert!("peer_123".parse::<PeerId>().is_ok());
        for bad in ["", "server", "a b", "é", &"x".repeat(65)] {
            assert!(bad.parse::<PeerId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn call_ids_are_checked() {
        assert!("call-1 é".parse::<CallId>().is_ok());
        assert!("é".repeat(64).parse::<CallId>().is_ok());
        for bad in ["", "a\nb", &"é".repeat(65)] {
            assert!(bad.parse::<CallId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_uuid_names_nothing() {
        assert_eq!(RoomId::parse("general"), RoomId::NOTHING);
        assert_eq!(serde_json::from_str::<RoomId>("\"general\"").unwrap(), RoomId::NOTHING);
        assert!(serde_json::from_str::<RoomId>("5").is_err());
    }
}
