//! The head of a client's first request, read before the machinery of HTTP is there for it: a WebSocket's handshake needs
//! none of that, and where thousands come back at once nearly all of them want one.

use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};

/// Headers of a request that is looked at here; browsers send some fifteen.
const MAX_HEADERS: usize = 48;

/// The request that `bytes` begin with, and how long it is, where it is a whole `GET` of `path` by HTTP/1.1 (RFC 9112) that
/// has no body and asks for nothing else before. None for all that is otherwise, or not there yet: HTTP's own machinery
/// knows what to do with it.
#[must_use]
pub fn simple_get(bytes: &[u8], path: &str) -> Option<(Request<()>, usize)> {
    // Nearly every other request ends here.
    let target = bytes.strip_prefix(b"GET ")?.strip_prefix(path.as_bytes())?;
    if !matches!(target.first()?, b' ' | b'?') {
        return None;
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else { return None };
    if head.version != Some(1) {
        return None;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::try_from(head.path?).ok()?;
    for field in &*head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        if matches!(name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT) {
            return None;
        }
        request.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some((request, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_get_is_read() {
        let text = b"GET /ws?token=a%20b HTTP/1.1\r\nHost: here\r\nX-A: 1\r\nx-a:  2 \r\nX-B: \xe9\r\n\r\nrest";
        let (request, length) = simple_get(text, "/ws").unwrap();
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_11));
        assert_eq!((request.uri().path(), request.uri().query()), ("/ws", Some("token=a%20b")));
        let of = |name: &str| request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!((of("x-a"), of("x-b")), (vec![&b"1"[..], b"2"], vec![&b"\xe9"[..]]));
        assert_eq!(&text[length..], b"rest");
        assert_eq!(simple_get(b"GET /ws HTTP/1.1\r\n\r\n", "/ws").unwrap().1, 20);
    }

    #[test]
    fn whatever_is_not_simple_goes_the_long_way() {
        let headers = "Host: here\r\n\r\n";
        for line in [
            "GET /ws/ HTTP/1.1",
            "GET /wsx HTTP/1.1",
            "GET /api/rooms HTTP/1.1",
            "HEAD /ws HTTP/1.1",
            "POST /ws HTTP/1.1",
            "get /ws HTTP/1.1",
            "GET /ws HTTP/1.0",
            "GET /ws HTTP/2.0",
            "GET  /ws HTTP/1.1",
            "GET http://here/ws HTTP/1.1",
            "GET /ws#part HTTP/9",
            "\r\nGET /ws HTTP/1.1",
        ] {
            assert!(simple_get(format!("{line}\r\n{headers}").as_bytes(), "/ws").is_none(), "{line}");
        }
        for more in [
            "Content-Length: 0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n",
            "Expect: 100-continue\r\n\r\n",
            "X Y: 1\r\n\r\n",
            " folded: 1\r\n\r\n",
            "X: a\0b\r\n\r\n",
            "Host: not all of it\r\n",
            &("X: 1\r\n".repeat(MAX_HEADERS + 1) + "\r\n"),
            "",
        ] {
            assert!(simple_get(format!("GET /ws HTTP/1.1\r\n{more}").as_bytes(), "/ws").is_none(), "{more}");
        }
    }
}
