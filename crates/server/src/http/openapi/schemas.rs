//! What the schemas of bodies leave unsaid, so that a body which fits its schema is one that the server takes: which
//! characters may stand where, and that a member is named in one of two ways.

use mesh_protocol::limits::DEFAULT_MAX_MESSAGE_CHARS;
use utoipa::openapi::{Components, Object, OneOf, RefOr, Schema, Type};

/// One line that is not blank. No control characters (C0, DEL, C1).
const LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$";
/// No control characters.
const PRINTABLE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";
/// No control characters but tab and newline.
const TEXT: &str = r"^[^\u0000-\u0008\u000B-\u001F\u007F-\u009F]*$";
const EMAIL: &str = r"^[^@\s\u0000-\u001F\u007F-\u009F]+@[^@\s\u0000-\u001F\u007F-\u009F]+$";
/// A pattern cannot count bytes: these have at most 72 in UTF-8, whatever their characters.
const PASSWORD: &str = r"^(?:[\u0001-\u007F]{8,72}|[\u0001-\u07FF]{8,36}|[^\u0000]{8,18})$";
/// SHA-256 as SDP writes it, or in base64url, whose last character has two bits to spare.
const FINGERPRINT: &str =
    r"^(?:(?:sha-256 )?(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}|[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$";

/// Schema, field, pattern.
const PATTERNS: &[(&str, &str, &str)] = &[
    ("RegisterRequest", "password", PASSWORD),
    ("RegisterRequest", "email", EMAIL),
    ("RegisterRequest", "display_name", LINE),
    ("CapabilityRequest", "fingerprint", FINGERPRINT),
    ("CreateUserRequest", "password", PASSWORD),
    ("UpdateUserRequest", "password", PASSWORD),
    ("CreateUserRequest", "email", EMAIL),
    ("CreateUserRequest", "display_name", LINE),
    ("UpdateUserRequest", "email", EMAIL),
    ("UpdateUserRequest", "display_name", LINE),
    ("CreateTokenRequest", "name", LINE),
    ("UpdateMeRequest", "email", EMAIL),
    ("UpdateMeRequest", "display_name", LINE),
    ("ChangePasswordRequest", "new_password", PASSWORD),
    ("CreateRoomRequest", "name", LINE),
    ("CreateRoomRequest", "description", TEXT),
    ("UpdateRoomRequest", "name", LINE),
    ("UpdateRoomRequest", "description", TEXT),
    ("BanRequest", "reason", TEXT),
    ("PostMessageRequest", "content", TEXT),
    ("PostMessageRequest", "client_id", PRINTABLE),
];

/// Adds what is unsaid.
pub(super) fn tighten(components: &mut Components) {
    for (schema, field, pattern) in PATTERNS {
        if let Some(field) = property(components, schema, field) {
            field.pattern = Some((*pattern).to_owned());
        }
    }
    if let Some(content) = property(components, "PostMessageRequest", "content") {
        content.max_length = Some(DEFAULT_MAX_MESSAGE_CHARS);
    }
    if let Some(invite) = property(components, "RegisterRequest", "invite") {
        // Nothing reads it yet.
        invite.max_length = None;
    }
    either(components, "AddMemberRequest", "username", "user_id");
    either(components, "DirectRequest", "username", "user_id");
    either(components, "DisableTotpRequest", "code", "password");
}

fn object<'a>(components: &'a mut Components, schema: &str) -> Option<&'a mut Object> {
    match components.schemas.get_mut(schema)? {
        RefOr::T(Schema::Object(object)) => Some(object),
        _ => None,
    }
}

fn property<'a>(components: &'a mut Components, schema: &str, field: &str) -> Option<&'a mut Object> {
    match object(components, schema)?.properties.get_mut(field)? {
        RefOr::T(Schema::Object(field)) => Some(field),
        _ => None,
    }
}

/// Makes a schema with two optional fields one of two schemas, each of which needs one of them.
fn either(components: &mut Components, schema: &str, first: &str, second: &str) {
    let Some(both) = object(components, schema) else { return };
    let with = |wanted: &str, other: &str| {
        let mut one = both.clone();
        one.title = Some(format!("By {wanted}"));
        one.description = None;
        // The other one may be there as null, which says nothing.
        one.properties.insert(other.to_owned(), Object::with_type(Type::Null).into());
        match one.properties.get_mut(wanted) {
            Some(RefOr::T(Schema::Object(field))) => field.schema_type = Type::String.into(),
            // A reference, or null.
            Some(RefOr::T(Schema::OneOf(field))) => {
                if let Some(reference) = field.items.iter().find(|item| matches!(item, RefOr::Ref(_))).cloned() {
                    one.properties.insert(wanted.to_owned(), reference);
                }
            }
            _ => {}
        }
        one.required.push(wanted.to_owned());
        one
    };
    let mut either = OneOf::new();
    either.description.clone_from(&both.description);
    either.items = [with(first, second), with(second, first)].map(|one| RefOr::T(Schema::Object(one))).into();
    components.schemas.insert(schema.to_owned(), RefOr::T(Schema::OneOf(either)));
}

#[cfg(test)]
mod tests {
    use crate::http::openapi;

    use super::*;

    #[test]
    fn every_field_is_found() {
        let components = openapi().components.unwrap();
        for (schema, field, pattern) in PATTERNS {
            assert_eq!(property(&mut components.clone(), schema, field).unwrap().pattern.as_deref(), Some(*pattern));
        }
        let member = serde_json::to_value(&components.schemas["AddMemberRequest"]).unwrap();
        assert_eq!(member["oneOf"][0]["required"], serde_json::json!(["username"]));
        assert_eq!(member["oneOf"][1]["required"], serde_json::json!(["user_id"]));
        assert_eq!(member["oneOf"][0]["properties"]["username"]["type"], "string");
        assert_eq!(member["oneOf"][1]["properties"]["user_id"]["$ref"], "#/components/schemas/UserId");
        assert_eq!(member["oneOf"][1]["properties"]["username"]["type"], "null");
    }
}
