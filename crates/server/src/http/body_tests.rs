use mesh_protocol::rest::{AddMemberRequest, CreateRoomRequest, PostMessageRequest};

use super::*;
use crate::http::testing::{body_json, send};

fn refused<T: DeserializeOwned>(body: &str) -> (u16, String, String, String) {
    let Err(error) = parse_json::<T>(body.as_bytes()) else { panic!("{body} was read") };
    let first = error.fields.first().cloned();
    let (field, code, message) = first.map(|e| (e.field, e.code, e.message)).unwrap_or_default();
    (error.into_response().status().as_u16(), field, code, message)
}

#[test]
fn a_body_that_does_not_fit_names_the_field() {
    let room = |body: &str| {
        let (status, field, code, message) = refused::<CreateRoomRequest>(body);
        assert!(!message.contains("line "), "{message}");
        (status, field, code)
    };
    let said = |status, field: &str, code: &str| (status, field.to_owned(), code.to_owned());
    assert_eq!(room("{}"), said(422, "name", "required"));
    assert_eq!(room(r#"{"name":5}"#), said(422, "name", "invalid_type"));
    assert_eq!(room(r#"{"name":null}"#), said(422, "name", "invalid_type"));
    assert_eq!(room(r#"{"name":["a"]}"#), said(422, "name", "invalid_type"));
    assert_eq!(room(r#"{"name":"a","visibility":"secret"}"#), said(422, "visibility", "invalid"));
    assert_eq!(room(r#"{"name":"a","visibility":5}"#), said(422, "visibility", "invalid_type"));
    assert_eq!(room(r#"{"name":"a","name":"b"}"#), said(422, "name", "invalid"));
    for shape in ["[]", r#"["a"]"#, "null", "5", "true", r#""a""#, " [1] "] {
        assert_eq!(room(shape), said(422, "", "invalid_type"), "{shape}");
    }
    assert_eq!(refused::<AddMemberRequest>(r#"{"user_id":7}"#).1, "user_id");
    assert_eq!(refused::<PostMessageRequest>(r#"{"content":"a","reply_to_id":{}}"#).1, "reply_to_id");
}

#[test]
fn what_is_no_json_is_malformed() {
    for body in
        ["", " ", "{", r#"{"name":"a"} x"#, r#"{"name":"a",}"#, "{'name':1}", r#"{"name":"a"}{}"#, "\u{feff}{}", "nul"]
    {
        let error = parse_json::<CreateRoomRequest>(body.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Malformed, "malformed_json"), "{body}");
    }
    let error = parse_json::<CreateRoomRequest>(b"{\"name\":\"\xff\"}").unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Malformed, "malformed_json"));
    assert!(error.message.contains("UTF-8"), "{}", error.message);
    // Half a surrogate pair is a text that nothing can hold.
    assert!(matches!(refused::<CreateRoomRequest>(r#"{"name":"\ud800"}"#).0, 400 | 422));
    let deep = format!(r#"{{"name":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(refused::<CreateRoomRequest>(&deep).0, 400 | 422));
}

#[test]
fn what_is_not_known_is_ignored() {
    let body = " {\"name\":\"a\\u0000b\",\"extra\":[1e400,{}],\"description\":null}\n";
    let room: CreateRoomRequest = parse_json(body.as_bytes()).unwrap();
    assert_eq!((room.name.as_str(), room.description), ("a\0b", None));
}

#[test]
fn logins_by_form() {
    let login = |body: &str| login_form(body.as_bytes());
    let read = login("grant_type=password&username=an%C3%A9&password=a+b%26&scope=&client_id=").unwrap();
    assert_eq!((read.username.as_str(), read.password.as_str()), ("ané", "a b&"));
    assert!(login("username=a&password=b").is_ok());
    for (body, field, code) in [
        ("grant_type=client_credentials&username=a&password=b", "grant_type", "invalid"),
        ("username=a", "password", "required"),
        ("", "username", "required"),
        ("username=a&password=b&password=c", "password", "repeated"),
    ] {
        let error = login(body).err().unwrap();
        assert_eq!((error.fields[0].field.as_str(), error.fields[0].code.as_str()), (field, code), "{body}");
    }
}

fn post(content_type: Option<&str>, body: impl Into<Body>) -> Request {
    let mut request = Request::post("/api/thing").body(body.into()).unwrap();
    if let Some(value) = content_type {
        request.headers_mut().insert(header::CONTENT_TYPE, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn media_types() {
    let room = r#"{"name":"a"}"#;
    for good in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        assert_eq!(send(post(Some(good), room)).await.status(), 200, "{good}");
    }
    for bad in [None, Some("text/plain"), Some("text/json"), Some("application/jsonx"), Some(FORM), Some("+json")] {
        let response = send(post(bad, room)).await;
        assert_eq!(response.status(), 415, "{bad:?}");
        assert_eq!(body_json(response).await["code"], "unsupported_media_type");
    }
}

#[tokio::test]
async fn large_bodies() {
    let body = |name: usize| format!(r#"{{"name":"{}"}}"#, "a".repeat(name));
    assert_eq!(send(post(Some("application/json"), body(MAX_BODY_BYTES - 11))).await.status(), 200);
    for length in [MAX_BODY_BYTES - 10, 3 * MAX_BODY_BYTES, 8 * MAX_BODY_BYTES] {
        let response = send(post(Some("application/json"), body(length))).await;
        assert_eq!(response.status(), 413);
        assert_eq!(body_json(response).await["code"], "too_large");
    }
    let mut request = post(Some("application/json"), "{}");
    request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("99999999999999999999"));
    assert_eq!(send(request).await.status(), 422, "what a header claims is not what is read");
}
