//! What browsers are told: which pages may call, and what the server's own pages may load.

use reqwest::{Method, header::HeaderMap};

use crate::kit::Server;

async fn preflight(server: &Server, origin: &str) -> HeaderMap {
    let request = server.http.request(Method::OPTIONS, server.url("/api/rooms"));
    let request = request
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization, content-type");
    request.send().await.unwrap().headers().clone()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_listed_origins_may_call() {
    let listed = "https://app.example, https://other.example:8443";
    let server = Server::start_with(&[("MESH_CORS_ORIGINS", listed)]).await;
    for origin in ["https://app.example", "https://other.example:8443"] {
        let headers = preflight(&server, origin).await;
        assert_eq!(text(&headers, "access-control-allow-origin"), origin);
        assert!(text(&headers, "access-control-allow-methods").contains("PATCH"), "{headers:?}");
        assert!(text(&headers, "access-control-allow-headers").contains("authorization"), "{headers:?}");
        assert!(headers.get("access-control-allow-credentials").is_none(), "there are no cookies here");
    }
    for origin in ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"] {
        let headers = preflight(&server, origin).await;
        assert!(headers.get("access-control-allow-origin").is_none(), "{origin}: {headers:?}");
    }
    let request = server.http.get(server.url("/api/info")).header("Origin", "https://app.example");
    let headers = request.send().await.unwrap().headers().clone();
    let exposed = text(&headers, "access-control-expose-headers").to_lowercase();
    for name in ["x-request-id", "link", "location", "retry-after"] {
        assert!(exposed.contains(name), "{name} in {exposed}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_it_is_the_servers_own_origin_and_a_star_is_all() {
    let server = Server::start_with(&[("MESH_PUBLIC_URL", "https://mesh.example/base")]).await;
    let headers = preflight(&server, "https://mesh.example").await;
    assert_eq!(text(&headers, "access-control-allow-origin"), "https://mesh.example");
    assert!(preflight(&server, "https://evil.example").await.get("access-control-allow-origin").is_none());
    server.stop().await;
    let server = Server::start_with(&[("MESH_CORS_ORIGINS", "*")]).await;
    assert_eq!(text(&preflight(&server, "https://any.example").await, "access-control-allow-origin"), "*");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_load_nothing_from_elsewhere_and_stand_in_no_frame() {
    let server = Server::start().await;
    for page in ["/docs/", "/redoc", "/register", "/invite/abc"] {
        let answer = server.http.get(server.url(page)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{page}");
        let policy = text(answer.headers(), "content-security-policy").to_owned();
        let from = if page.contains("redoc") || page.contains("docs") { "'self'" } else { "'none'" };
        assert!(
            policy.starts_with(&format!("default-src {from}")) && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("http"), "{policy}");
        assert_eq!(text(answer.headers(), "x-content-type-options"), "nosniff");
        assert_eq!(text(answer.headers(), "referrer-policy"), "no-referrer");
    }
    let answer = server.http.get(server.url("/api/info")).send().await.unwrap();
    assert_eq!(text(answer.headers(), "cache-control"), "no-store");
    server.stop().await;
}
