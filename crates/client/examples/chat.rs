//! A terminal chat: `cargo run -p mesh-client --example chat -- --server http://localhost:8000 --user ana`.

#![allow(clippy::print_stdout)]

use std::{
    collections::HashMap,
    io::{BufRead as _, IsTerminal as _, Write as _},
    process::{Command, ExitCode, Stdio},
    thread,
};

use clap::Parser;
use mesh_client::{Client, Config, Error, Event, Events, History, Login, Rest};
use mesh_protocol::{
    RoomId, UserId,
    credentials::TotpLoginRequest,
    event::ServerEvent,
    model::{Message, Room, Visibility},
    rest::{AddMemberRequest, CreateRoomRequest, LoginRequest, RegisterRequest, TokenResponse},
};
use tokio::{sync::mpsc, task::JoinSet};

const HELP: &str = "\
/rooms          your rooms, and the public ones     /join ROOM     by name or id
/create NAME    make a room and go there            /invite USER   add somebody to this room
/members        who is in this room                 /quit          leave the program
Anything else is said in the room; //text says /text.";

/// A terminal chat for Mesh Server.
#[derive(Parser)]
struct Args {
    /// The server's address
    #[arg(long, default_value = "http://localhost:8000")]
    server: String,
    /// Your user name
    #[arg(long)]
    user: String,
    /// Your password; asked for when it is given nowhere
    #[arg(long, env = "MESH_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Make the account first
    #[arg(long)]
    register: bool,
    /// Where to go: a room's name or id
    #[arg(long)]
    room: Option<String>,
}

struct Chat {
    login: Login,
    client: Client,
    me: UserId,
    /// The rooms that were visited, by id.
    rooms: HashMap<RoomId, String>,
    here: Option<RoomId>,
    sends: JoinSet<Result<Message, Error>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("! {}", tell(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Error> {
    let rest = Rest::new(&args.server)?;
    let password = match args.password {
        Some(password) => password,
        None => ask(&format!("Password of {}: ", args.user)),
    };
    let tokens = if args.register {
        rest.register(&RegisterRequest { username: args.user, password, email: None, display_name: None, invite: None })
            .await?
    } else {
        log_in(&rest, &LoginRequest { username: args.user, password }).await?
    };
    let (me, name) = (tokens.user.id, tokens.user.username.clone());
    let login = Login::new(&rest, tokens);
    let mut config = Config::new(args.server, login.clone());
    config.device_name = Some("terminal".to_owned());
    let (client, mut events) = Client::connect(config).await?;
    let (rooms, sends) = (HashMap::new(), JoinSet::new());
    let mut chat = Chat { login, client, me, rooms, here: None, sends };

    println!("You are {}. /help tells what there is.", name);
    match args.room {
        Some(room) => chat.report(Chat::go, &room).await,
        None => chat.list_rooms().await.unwrap_or_else(|error| println!("! {}", tell(&error))),
    }
    chat.talk(lines(), &mut events).await;
    chat.client.close().await;
    Ok(())
}

impl Chat {
    async fn talk(&mut self, mut lines: mpsc::Receiver<String>, events: &mut Events) {
        loop {
            tokio::select! {
                line = lines.recv() => match line.as_deref().map(str::trim) {
                    None => {
                        // The input has ended: what was said is still delivered.
                        while let Some(sent) = self.sends.join_next().await {
                            report_send(sent);
                        }
                        return;
                    }
                    Some("/quit") => return,
                    Some("") => {}
                    Some(line) => self.line(line).await,
                },
                event = events.recv() => match event {
                    Some(event) => self.event(event).await,
                    None => return,
                },
                Some(sent) = self.sends.join_next(), if !self.sends.is_empty() => report_send(sent),
            }
        }
    }

    async fn line(&mut self, line: &str) {
        let Some(command) = line.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
            return self.say(line.strip_prefix('/').unwrap_or(line));
        };
        let (command, argument) = command.split_once(' ').unwrap_or((command, ""));
        match (command, argument.trim()) {
            ("help", _) => println!("{HELP}"),
            ("rooms", _) => self.list_rooms().await.unwrap_or_else(|error| println!("! {}", tell(&error))),
            ("members", _) => self.members().await.unwrap_or_else(|error| println!("! {}", tell(&error))),
            ("join" | "create" | "invite", "") => println!("! /{command} what? /help tells"),
            ("join", room) => self.report(Self::go, room).await,
            ("create", name) => self.report(Self::create, name).await,
            ("invite", user) => self.report(Self::invite, user).await,
            _ => println!("! there is no /{command}; /help tells what there is"),
        }
    }

    /// Does what may fail, and says so where it does.
    async fn report(&mut self, what: impl AsyncFn(&mut Self, &str) -> Result<(), Error>, argument: &str) {
        if let Err(error) = what(self, argument).await {
            println!("! {}", tell(&error));
        }
    }

    fn say(&mut self, content: &str) {
        let Some(room_id) = self.here else {
            return println!("! you are in no room: /join or /create one");
        };
        let (client, content) = (self.client.clone(), content.to_owned());
        // In the background, so that typing goes on while the server is away.
        self.sends.spawn(async move { client.send(room_id, content).await });
    }

    async fn list_rooms(&mut self) -> Result<(), Error> {
        let mine = self.login.rest().all_rooms(None).await?;
        for room in &mine {
            println!("  {}  {} members, {} unread  {}", room.name, room.member_count, room.unread, room.id);
        }
        for room in self.login.rest().all_rooms(Some(Visibility::Public)).await? {
            if !mine.iter().any(|known| known.id == room.id) {
                println!("  {}  public, {} members  {}", room.name, room.member_count, room.id);
            }
        }
        if mine.is_empty() {
            println!("  You are in no room yet: /create NAME makes one.");
        }
        Ok(())
    }

    async fn go(&mut self, wanted: &str) -> Result<(), Error> {
        let id = RoomId::parse(wanted);
        let mut rooms = self.login.rest().all_rooms(None).await?;
        rooms.extend(self.login.rest().all_rooms(Some(Visibility::Public)).await?);
        let named = |room: &&Room| room.id == id || room.name.eq_ignore_ascii_case(wanted);
        match rooms.iter().find(named) {
            Some(room) => self.enter(room.id, &room.name).await,
            None if id == RoomId::NOTHING => {
                println!("! there is no room {wanted:?}; /create {wanted} makes one");
                Ok(())
            }
            None => self.enter(id, wanted).await,
        }
    }

    async fn enter(&mut self, room_id: RoomId, name: &str) -> Result<(), Error> {
        self.here = Some(room_id);
        if self.rooms.insert(room_id, name.to_owned()).is_some() {
            println!("-- {name} --");
            return Ok(());
        }
        // Joined first: in a public room that is what makes history readable. What is said meanwhile comes as events.
        let joined = match self.client.join(room_id).await {
            Ok(joined) => joined,
            Err(error) => {
                self.rooms.remove(&room_id);
                self.here = None;
                return Err(error);
            }
        };
        println!("-- {name}: {} online --", joined.online_count);
        let before_seq = Some(joined.last_seq + 1);
        let history = History { before_seq, limit: Some(20), ..History::default() };
        for message in self.login.rest().messages(room_id, &history).await? {
            self.print(&message, None);
        }
        Ok(())
    }

    async fn create(&mut self, name: &str) -> Result<(), Error> {
        let request = CreateRoomRequest { name: name.to_owned(), description: None, visibility: None };
        let room = self.login.rest().create_room(&request).await?;
        self.enter(room.id, &room.name).await
    }

    async fn invite(&mut self, user: &str) -> Result<(), Error> {
        let Some(room_id) = self.here else {
            println!("! you are in no room");
            return Ok(());
        };
        let request = AddMemberRequest { username: Some(user.to_owned()), ..AddMemberRequest::default() };
        let member = self.login.rest().add_member(room_id, &request).await?;
        println!("-- {} is a member now --", member.display_name);
        Ok(())
    }

    async fn members(&mut self) -> Result<(), Error> {
        let Some(room_id) = self.here else {
            println!("! you are in no room");
            return Ok(());
        };
        for member in self.login.rest().members(room_id).await? {
            let online = if member.online { "online" } else { "" };
            println!("  {}  {} {online}", member.username, member.role.as_str());
        }
        Ok(())
    }

    fn print(&self, message: &Message, mark: Option<&str>) {
        let time = message.created_at.to_string();
        let time = time.get(11..19).unwrap_or(&time);
        let room = match self.rooms.get(&message.room_id) {
            Some(name) if self.here != Some(message.room_id) => format!("[{name}] "),
            _ => String::new(),
        };
        let content = if message.deleted_at.is_some() { "(deleted)" } else { &message.content };
        let author = if message.user_id == self.me { "you" } else { &message.username };
        println!("{time} {room}{author}: {content}{}", mark.unwrap_or_default());
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Connected(welcome) => println!("-- connected to Mesh Server {} --", welcome.server_version),
            Event::Disconnected { reason, retry_in } => {
                println!("-- connection lost ({reason}); trying again in {:.1} s --", retry_in.as_secs_f64());
            }
            Event::Goodbye(goodbye) => println!("-- the server says goodbye: {} --", goodbye.reason),
            Event::CredentialNeeded { reason } => println!("! {reason}: log in again by starting this program again"),
            Event::Lost { room_id, error } => {
                let name = self.rooms.remove(&room_id).unwrap_or_default();
                println!("-- {name} is gone: {error} --");
                self.here = self.here.filter(|&here| here != room_id);
            }
            Event::Message(created) => self.print(&created.message, None),
            Event::Changed { change, .. } => self.print(&change.message, Some(" (changed)")),
            Event::Lagged { dropped } => println!("-- {dropped} events were dropped --"),
            Event::Stopped { reason } => println!("-- ended: {reason} --"),
            Event::Other(event) => match *event {
                ServerEvent::MemberAdded(added) => println!("-- {} is here now --", added.member.display_name),
                ServerEvent::RoomAdded(added) => println!("-- you are in {} now: /join {0} --", added.room.name),
                _ => {}
            },
            _ => {}
        }
    }
}

fn report_send(sent: Result<Result<Message, Error>, tokio::task::JoinError>) {
    match sent {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => println!("! not said: {}", tell(&error)),
        Err(error) => println!("! not said: {error}"),
    }
}

/// An error for a person: with what is wrong with each field.
fn tell(error: &Error) -> String {
    match error {
        Error::Api(problem) if !problem.errors.is_empty() => {
            problem.errors.iter().map(|e| format!("{} {}", e.field, e.message)).collect::<Vec<_>>().join("; ")
        }
        error => error.to_string(),
    }
}

/// The terminal's lines, read on a thread of their own, which the end of the program does not wait for.
fn lines() -> mpsc::Receiver<String> {
    let (give, lines) = mpsc::channel(16);
    let read = move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if give.blocking_send(line).is_err() {
                return;
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("stdin".to_owned()).spawn(read) {
        println!("! the terminal can't be read: {error}");
    }
    lines
}

/// Asks for the password; a terminal does not show it.
/// Logs in, with a code where a second factor is on.
async fn log_in(rest: &Rest, login: &LoginRequest) -> Result<TokenResponse, Error> {
    match rest.login(login).await {
        Err(error) if error.code() == Some("totp_required") => {
            let challenge = error.challenge().unwrap_or_default().to_owned();
            let code = ask("Code of your authenticator app, or a recovery code: ");
            rest.login_totp(&TotpLoginRequest { challenge, code }).await
        }
        answer => answer,
    }
}

/// Asks for what nobody is to see.
fn ask(what: &str) -> String {
    print!("{what}");
    let _ = std::io::stdout().flush();
    let hidden = std::io::stdin().is_terminal() && stty("-echo");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    if hidden {
        stty("echo");
        println!();
    }
    line.trim_end_matches(['\r', '\n']).to_owned()
}

fn stty(mode: &str) -> bool {
    Command::new("stty").arg(mode).stdin(Stdio::inherit()).status().is_ok_and(|status| status.success())
}
