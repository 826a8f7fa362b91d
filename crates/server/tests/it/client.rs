//! The client crate against the real server: REST, conversation, and a server that goes away in the middle.

use mesh_client::{Client, Config, Event, Events, FixedToken, Login, Rest};
use mesh_protocol::{
    RoomId,
    credentials::TotpLoginRequest,
    rest::{AddMemberRequest, CreateRoomRequest, LoginRequest, RegisterRequest, TokenResponse},
};

use crate::{
    kit::{Account, Server, soon},
    second_factor::totp,
};

async fn register(rest: &Rest, name: &str) -> TokenResponse {
    let request = RegisterRequest {
        username: name.to_owned(),
        password: "correct horse battery".to_owned(),
        email: None,
        display_name: None,
        invite: None,
    };
    rest.register(&request).await.unwrap()
}

/// The next messages that are said, as they come.
async fn hear(events: &mut Events, count: usize) -> Vec<(u64, String)> {
    let mut heard = Vec::new();
    while heard.len() < count {
        if let Event::Message(said) = soon("a message", events.recv()).await.expect("the client goes on") {
            heard.push((said.seq, said.message.content));
        }
    }
    heard
}

async fn connect(base: &str, login: &TokenResponse, room: RoomId) -> (Client, Events) {
    let config = Config::new(base, FixedToken::new(login.access_token.clone()));
    let (client, events) = soon("the welcome", Client::connect(config)).await.unwrap();
    soon("the join", client.join(room)).await.unwrap();
    (client, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_talk_through_a_restart() {
    let server = Server::start().await;
    let (base, port) = (server.base.clone(), server.base.rsplit_once(':').unwrap().1.to_owned());
    let rest = Rest::new(&base).unwrap();
    let (ana, ben) = (register(&rest, "ana").await, register(&rest, "ben").await);
    let hers = rest.with_token(&ana.access_token);
    let request = CreateRoomRequest { name: "Cuisine".to_owned(), description: None, visibility: None };
    let room = hers.create_room(&request).await.unwrap();
    let request = AddMemberRequest { user_id: Some(ben.user.id), ..AddMemberRequest::default() };
    assert_eq!(hers.add_member(room.id, &request).await.unwrap().username, "ben");
    assert_eq!(hers.all_rooms(None).await.unwrap()[0].member_count, 2);

    let (a, _hers) = connect(&base, &ana, room.id).await;
    let (b, mut his) = connect(&base, &ben, room.id).await;
    assert_eq!(soon("the answer", a.send(room.id, "one")).await.unwrap().seq, 1);
    assert_eq!(soon("the answer", b.send(room.id, "two")).await.unwrap().seq, 2);
    assert_eq!(hear(&mut his, 2).await, [(1, "one".to_owned()), (2, "two".to_owned())]);

    // The server goes; what is said meanwhile waits, and is said once when it is back on the same address.
    let database = server.stop().await;
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { a.send(room.id, "three").await }
    });
    let server = Server::start_on(database, &[("MESH_PORT", &port)]).await;
    assert_eq!(soon("the answer", waiting).await.unwrap().unwrap().seq, 3);
    assert_eq!(soon("the answer", b.send(room.id, "four")).await.unwrap().seq, 4);
    assert_eq!(hear(&mut his, 2).await, [(3, "three".to_owned()), (4, "four".to_owned())]);
    let said: Vec<_> = hers.messages(room.id, &Default::default()).await.unwrap();
    assert_eq!(said.iter().map(|m| m.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    a.close().await;
    b.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_keeps_its_connection_beyond_its_token() {
    let server = Server::start_with(&[("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "5")]).await;
    let rest = Rest::new(&server.base).unwrap();
    let login = Login::new(&rest, register(&rest, "ana").await);
    let request = CreateRoomRequest { name: "Cuisine".to_owned(), description: None, visibility: None };
    let room = login.rest().create_room(&request).await.unwrap().id;
    let config = Config::new(&server.base, login.clone());
    let (client, mut events) = soon("the welcome", Client::connect(config)).await.unwrap();
    soon("the join", client.join(room)).await.unwrap();
    // Three times as long as a token lives, on one connection.
    for round in 1..=3 {
        let before = login.tokens().access_token;
        // The server warns 60 s before the end.
        server.advance(if round == 1 { 250 } else { 200 });
        loop {
            match soon("a newer token", events.recv()).await.expect("the client goes on") {
                Event::Renewed => break,
                Event::Disconnected { reason, .. } => panic!("disconnected: {reason}"),
                _ => {}
            }
        }
        assert_ne!(login.tokens().access_token, before);
        // The token from before has ended.
        server.advance(55);
        assert_eq!(soon("the answer", client.send(room, "still here")).await.unwrap().seq, round);
    }
    // A login that is over renews nothing.
    login.rest().logout().await.unwrap();
    loop {
        match soon("the need", events.recv()).await.expect("the client goes on") {
            Event::CredentialNeeded { .. } => break,
            Event::Connected(_) => panic!("connected without a login"),
            _ => {}
        }
    }
    client.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_takes_its_second_step() {
    let server = Server::start().await;
    let rest = Rest::new(&server.base).unwrap();
    let tokens = register(&rest, "ana").await;
    let ana = Account { id: tokens.user.id.to_string(), name: "ana".to_owned(), token: tokens.access_token };
    let (_, codes) = totp::enable(&server, &ana).await;
    let login = LoginRequest { username: "ana".to_owned(), password: "correct horse battery".to_owned() };
    let asked = rest.login(&login).await.err().unwrap();
    assert_eq!(asked.code(), Some("totp_required"));
    let challenge = asked.challenge().unwrap().to_owned();
    let wrong = TotpLoginRequest { challenge: challenge.clone(), code: "no code".to_owned() };
    assert_eq!(rest.login_totp(&wrong).await.err().unwrap().code(), Some("invalid_code"));
    let right = TotpLoginRequest { challenge, code: codes[0].clone() };
    let login = Login::new(&rest, rest.login_totp(&right).await.unwrap());
    assert_eq!(login.rest().me().await.unwrap().username, "ana");
    assert!(!format!("{login:?}").contains(&login.tokens().access_token));
    server.stop().await;
}
