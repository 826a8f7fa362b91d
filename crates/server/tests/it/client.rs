//! The client crate against the real server: REST, conversation, and a server that goes away in the middle.

use mesh_client::{Client, Config, Event, Events, FixedToken, Rest};
use mesh_protocol::{
    RoomId,
    rest::{AddMemberRequest, CreateRoomRequest, RegisterRequest, TokenResponse},
};

use crate::kit::{Server, soon};

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
