//! The protocol's numbers, each with its reason.

/// Bytes of one WebSocket message from a client; a larger one closes with 4413. An SDP offer with many candidates
/// stays well below it.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Characters of an event's `id`, of a `client_id` and of a peer id: room for a UUID with a prefix.
pub const MAX_ID_CHARS: usize = 64;
/// Characters of a message's content unless `MESH_MAX_MESSAGE_CHARS` says otherwise.
pub const DEFAULT_MAX_MESSAGE_CHARS: usize = 4_000;
/// Changes that a `room.join` with `since_seq` replays at most; beyond it the answer says `gap` and history fills it.
pub const RECOVERY_LIMIT: u64 = 1_000;
/// Rooms listed in `system.welcome`, so that it costs a bounded number of bytes.
pub const WELCOME_ROOMS: usize = 200;
/// Members listed in `room.joined`, so that a join costs a bounded number of bytes.
pub const JOINED_MEMBERS: usize = 200;
/// Seconds between the server's WebSocket pings.
pub const HEARTBEAT_SECONDS: u64 = 25;
/// Seconds within which `system.hello` must come.
pub const HELLO_SECONDS: u64 = 10;
/// Malformed frames in a row that end a connection with 4400.
pub const MAX_MALFORMED: u32 = 10;
/// A connection's burst of events, as a multiple of `MESH_EVENTS_PER_SECOND`.
pub const EVENTS_BURST_FACTOR: u32 = 4;
/// Events of `rtc` that a connection may send a second, beside `MESH_EVENTS_PER_SECOND` for all others; or as many as of
/// those, where that is more.
pub const SIGNALS_PER_SECOND: u32 = 100;
/// A connection's burst of these: the candidates of thirty calls that begin at once.
pub const SIGNALS_BURST: u32 = 1_000;
/// Items of a REST list unless `limit` says otherwise.
pub const DEFAULT_PAGE: usize = 50;
/// The largest `limit` of a REST list.
pub const MAX_PAGE: usize = 200;
/// Bytes of a REST body: a message of 4,000 four-byte characters, escaped, fits several times.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// The longest time that a room can keep its messages for, days: a hundred years. Longer is without an end.
pub const MAX_RETENTION_DAYS: u32 = 36_500;
/// The most uses of an invite whose uses are counted.
pub const MAX_INVITE_USES: u32 = 100_000;
/// The shortest life of an invite that ends by itself, seconds.
pub const MIN_INVITE_SECONDS: u32 = 60;
/// The longest life of an invite that ends by itself, seconds: a year.
pub const MAX_INVITE_SECONDS: u32 = 31_536_000;
/// The shortest life of a capability token, seconds: long enough to open a call.
pub const MIN_CAPABILITY_SECONDS: i64 = 60;
/// The longest life of a capability token, seconds: too short to be worth stealing.
pub const MAX_CAPABILITY_SECONDS: i64 = 180;
/// How long a capability token lives unless asked otherwise, seconds.
pub const DEFAULT_CAPABILITY_SECONDS: i64 = 120;
/// How long a WebSocket ticket lives, seconds.
pub const TICKET_SECONDS: u64 = 30;
/// Personal access tokens of one account.
pub const MAX_TOKENS: u64 = 100;
/// The longest life of a personal access token that ends by itself, seconds: ten years.
pub const MAX_TOKEN_SECONDS: i64 = 315_360_000;
/// How long the challenge of a second factor lives, seconds.
pub const CHALLENGE_SECONDS: i64 = 300;
/// How old a login may be that turns its account's second factor off without being asked again, seconds.
pub const FRESH_LOGIN_SECONDS: i64 = 600;
/// Recovery codes of a second factor.
pub const RECOVERY_CODES: usize = 10;
/// Invites of one room; whoever wants another ends one.
pub const MAX_ROOM_INVITES: usize = 100;
/// Characters of a ban's reason.
pub const MAX_REASON_CHARS: usize = 500;
/// Seconds within which a session between agents is to be accepted.
pub const P2P_ANSWER_SECONDS: u64 = 30;
/// Seconds for which a session token can be shown: time to find a way through the network.
pub const P2P_TOKEN_SECONDS: u64 = 120;
/// Sessions that one peer has asked for and that are not over.
pub const MAX_P2P_ASKED: usize = 32;
/// Sessions that one peer was asked for and that are not over: nobody alone can fill them.
pub const MAX_P2P_TAKEN: usize = 256;
/// Addresses that one side of a session names.
pub const MAX_ENDPOINTS: usize = 16;
/// Bytes of a session request's `meta`, as JSON.
pub const MAX_META_BYTES: usize = 4 * 1024;
/// Files shared in a room at once, so that a join costs a bounded number of bytes.
pub const MAX_ROOM_FILES: usize = 200;
/// Of these by one peer.
pub const MAX_PEER_FILES: usize = 50;
/// Terminals shared in a room at once.
pub const MAX_ROOM_TERMINALS: usize = 50;
/// Of these by one peer.
pub const MAX_PEER_TERMINALS: usize = 10;
/// Files and terminals that one peer shares in all rooms.
pub const MAX_PEER_SHARES: usize = 500;
/// Peers that wait to control one terminal.
pub const MAX_CONTROL_ASKED: usize = 16;
/// Columns, and rows, of a terminal.
pub const MAX_TERMINAL_CELLS: u32 = 1_000;
/// The largest size that a file is said to have, bytes: 2⁵³ - 1, which every JSON reader holds exactly.
pub const MAX_FILE_SIZE: u64 = 9_007_199_254_740_991;
