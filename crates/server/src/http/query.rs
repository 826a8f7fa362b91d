//! Query parameters, each checked and named when it is wrong.

mod admin;

pub(super) use admin::{AuditQuery, PageQuery, UsersQuery};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts},
};
use mesh_protocol::limits::{DEFAULT_PAGE, MAX_PAGE};
use utoipa::{IntoParams, ToSchema};

use crate::{
    error::{Error, Fields, Result},
    service::{Page, chat::Range},
};

/// The largest sequence number that a JSON reader with doubles keeps exact (RFC 8259, section 6).
const MAX_SEQ: u64 = (1 << 53) - 1;

/// The parameters of a request, as `T` reads them.
pub(super) struct Query<T> {
    /// What they say.
    pub(super) params: T,
    uri: Uri,
}

/// A set of parameters.
pub(super) trait FromQuery: Sized {
    /// Reads its parameters; what is wrong is remembered in `given`.
    fn read(given: &mut Given<'_>) -> Self;
}

impl<T: FromQuery, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Self::parse(&parts.uri)
    }
}

impl<T: FromQuery> Query<T> {
    fn parse(uri: &Uri) -> Result<Self> {
        let mut given = Given { query: uri.query().unwrap_or_default(), wrong: Fields::default() };
        let params = T::read(&mut given);
        given.wrong.check()?;
        Ok(Self { params, uri: uri.clone() })
    }
}

impl<T> Query<T> {
    /// The items of a page, and the header that says where the next one is, while there is more.
    pub(super) fn page<I>(&self, page: Page<I>) -> (HeaderMap, Vec<I>) {
        let link = page.next.and_then(|cursor| self.link(&cursor));
        let headers = link.map(|link| -> (HeaderName, _) { (header::LINK, link) }).into_iter().collect();
        (headers, page.items)
    }

    /// `Link` (RFC 8288): the same request with another cursor.
    fn link(&self, cursor: &str) -> Option<HeaderValue> {
        let given = form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes());
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(given.filter(|(name, _)| name != "cursor")).append_pair("cursor", cursor);
        HeaderValue::try_from(format!("<{}?{}>; rel=\"next\"", self.uri.path(), query.finish())).ok()
    }
}

/// The parameters as they were given.
pub(super) struct Given<'a> {
    query: &'a str,
    wrong: Fields,
}

impl Given<'_> {
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let mut values = form_urlencoded::parse(self.query.as_bytes()).filter(|(key, _)| key == name);
        let value = values.next()?.1.into_owned();
        if values.next().is_some() {
            self.wrong.add(name, "repeated", "is given more than once");
            return None;
        }
        Some(value)
    }

    fn number(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        let text = self.text(name)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            let negative = text.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok());
            let code = if negative { "out_of_range" } else { "invalid_type" };
            self.wrong.add(name, code, format!("must be a whole number from {min} to {max}"));
            return None;
        }
        // Digits that don't fit in 64 bits are too many.
        match text.parse() {
            Ok(value) if (min..=max).contains(&value) => Some(value),
            _ => {
                self.wrong.add(name, "out_of_range", format!("must be from {min} to {max}"));
                None
            }
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.wrong.add(name, "invalid_type", "must be true or false");
                false
            }
        }
    }

    pub(super) fn limit(&mut self) -> usize {
        self.number("limit", 1, MAX_PAGE as u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_PAGE)
    }
}

/// Which rooms may be listed besides one's own.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it only describes the parameter")]
enum Listed {
    Public,
}

/// Of `GET /api/rooms`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RoomsQuery {
    /// `public` lists the rooms that everybody may join, instead of the caller's own.
    #[param(rename = "visibility", value_type = Listed, inline, required = false)]
    pub(super) public: bool,
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}\\.[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")]
    pub(super) cursor: Option<String>,
}

impl FromQuery for RoomsQuery {
    fn read(given: &mut Given<'_>) -> Self {
        let visibility = given.text("visibility");
        if visibility.as_deref().is_some_and(|word| word != "public") {
            given.wrong.add("visibility", "invalid", "must be \"public\", or absent for your own rooms");
        }
        Self { public: visibility.is_some(), limit: given.limit(), cursor: given.text("cursor") }
    }
}

/// Of `GET /api/rooms/{id}/members`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersQuery {
    /// `true` lists only those who are connected.
    #[param(value_type = bool, required = false, default = false)]
    pub(super) online: bool,
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9._-]{3,32}$")]
    pub(super) cursor: Option<String>,
}

impl FromQuery for MembersQuery {
    fn read(given: &mut Given<'_>) -> Self {
        Self { online: given.flag("online"), limit: given.limit(), cursor: given.text("cursor") }
    }
}

/// Of `GET /api/rooms/{id}/invites`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InvitesQuery {
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: usize,
    /// Where to go on: opaque, from the `Link` header of the page before.
    #[param(value_type = String, required = false, pattern = "^[0-9]{1,18}\\.[A-Za-z0-9_-]{21}[AQgw]$")]
    pub(super) cursor: Option<String>,
}

impl FromQuery for InvitesQuery {
    fn read(given: &mut Given<'_>) -> Self {
        Self { limit: given.limit(), cursor: given.text("cursor") }
    }
}

/// Of `GET /api/rooms/{id}/messages`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MessagesQuery {
    /// Only messages before this sequence number: the newest of them, or with `after_seq`, the oldest between the two.
    #[param(value_type = i64, required = false, minimum = 0, maximum = 9007199254740991_i64)]
    pub(super) before_seq: Option<u64>,
    /// Only messages after this sequence number: the oldest of them.
    #[param(value_type = i64, required = false, minimum = 0, maximum = 9007199254740991_i64)]
    after_seq: Option<u64>,
    /// How many at most.
    #[param(value_type = i32, required = false, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: usize,
}

impl FromQuery for MessagesQuery {
    fn read(given: &mut Given<'_>) -> Self {
        Self {
            before_seq: given.number("before_seq", 0, MAX_SEQ),
            after_seq: given.number("after_seq", 0, MAX_SEQ),
            limit: given.limit(),
        }
    }
}

impl MessagesQuery {
    /// From which end of which part the messages are read.
    pub(super) fn range(&self) -> Range {
        match (self.after_seq, self.before_seq) {
            (Some(seq), _) => Range::After(seq),
            (None, Some(seq)) => Range::Before(seq),
            (None, None) => Range::Latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromQuery>(query: &str) -> Result<T, Vec<(String, String)>> {
        let parsed = Query::parse(&format!("/api/rooms?{query}").parse().unwrap());
        parsed.map(|q| q.params).map_err(|e| e.fields.into_iter().map(|f| (f.field, f.code)).collect())
    }

    fn wrong<T: FromQuery>(query: &str) -> Vec<(String, String)> {
        read::<T>(query).err().unwrap_or_default()
    }

    #[test]
    fn defaults() {
        let rooms: RoomsQuery = read("").unwrap();
        assert_eq!((rooms.public, rooms.limit, rooms.cursor), (false, 50, None));
        let rooms: RoomsQuery = read("visibility=public&limit=200&cursor=a%2Bb&other=1&other=2").unwrap();
        assert_eq!((rooms.public, rooms.limit, rooms.cursor.as_deref()), (true, 200, Some("a+b")));
        assert!(read::<MembersQuery>("online=true").unwrap().online);
        assert_eq!(read::<MessagesQuery>("").unwrap().range(), Range::Latest);
        assert_eq!(read::<MessagesQuery>("before_seq=9").unwrap().range(), Range::Before(9));
        assert_eq!(read::<MessagesQuery>("after_seq=0").unwrap().range(), Range::After(0));
        let between: MessagesQuery = read("after_seq=3&before_seq=9").unwrap();
        assert_eq!((between.range(), between.before_seq), (Range::After(3), Some(9)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |field: &str, code: &str| vec![(field.to_owned(), code.to_owned())];
        for bad in ["0", "201", "-1", "99999999999999999999999"] {
            assert_eq!(wrong::<RoomsQuery>(&format!("limit={bad}")), said("limit", "out_of_range"), "{bad}");
        }
        for bad in ["", "x", "1.0", "%2B5", "5%20", "1e2", "%00", "%FF", "null", "٣"] {
            let bad = form_urlencoded::byte_serialize(bad.as_bytes()).collect::<String>();
            assert_eq!(wrong::<RoomsQuery>(&format!("limit={bad}")), said("limit", "invalid_type"), "{bad}");
        }
        assert_eq!(wrong::<RoomsQuery>("limit=1&limit=2"), said("limit", "repeated"));
        assert_eq!(wrong::<RoomsQuery>("visibility=private"), said("visibility", "invalid"));
        assert_eq!(wrong::<MembersQuery>("online=yes"), said("online", "invalid_type"));
        assert_eq!(wrong::<MessagesQuery>("before_seq=9007199254740992"), said("before_seq", "out_of_range"));
        assert_eq!(wrong::<MessagesQuery>("before_seq=x&limit=y").len(), 2);
    }

    #[test]
    fn links_keep_the_other_parameters() {
        let uri = "/api/rooms?limit=2&visibility=public&cursor=old&odd=%22%3E".parse().unwrap();
        let query = Query::<RoomsQuery>::parse(&uri).unwrap();
        let (headers, items) = query.page(Page { items: vec![1], next: Some("5.a/b>".to_owned()) });
        assert_eq!(items, [1]);
        assert_eq!(
            headers["link"],
            "</api/rooms?limit=2&visibility=public&odd=%22%3E&cursor=5.a%2Fb%3E>; rel=\"next\""
        );
        assert!(query.page(Page { items: vec![1], next: None }).0.is_empty());
    }
}
