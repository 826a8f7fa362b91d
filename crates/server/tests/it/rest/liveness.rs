//! Logins, refreshes, logouts, changed passwords, disabled accounts, personal access tokens and what is made of them, in any
//! order: after each step every credential that was ever given is tried, and lives or is dead as a model says. The server's
//! clock stands still but where a step moves it, so that nothing which is only believed for a while would be forgotten by
//! itself. A sequence that fails is made as short as it can be, and told.

mod model;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use model::Model;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestError, TestRunner},
};

use crate::kit::{Server, seeds};

const CASES: u32 = 48;
const ACCESS_SECONDS: i64 = 600;
const UNUSED_SECONDS: i64 = 86_400;
const GRACE_SECONDS: i64 = 15;
const TICKET_SECONDS: i64 = 30;
const CAPABILITY_SECONDS: i64 = 120;
const TOKEN_SECONDS: i64 = 300;

/// What happens next. A number chooses among what there is, 0 the newest; where there is nothing of the kind, nothing happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Login,
    LoginWithAWrongPassword,
    Logout(usize),
    /// By a login, the end of any.
    EndLogin(usize, usize),
    Refresh(usize),
    /// With the token before the current one, and with an older one.
    RefreshWithThePrevious(usize),
    RefreshWithAnOldOne(usize, usize),
    ChangePassword(usize),
    ResetPassword,
    Disable,
    Enable,
    /// A personal access token, with or without an end.
    MakeToken(usize, bool),
    RevokeToken(usize, usize),
    /// By any token, dead or alive, as all that follows.
    AskForATicket(usize),
    UseATicket(usize),
    AskForACapability(usize),
    Connect(usize),
    /// A connection's credential is replaced by any.
    Renew(usize, usize),
    Wait(i64),
}

impl Step {
    fn name(self) -> String {
        format!("{self:?}").split('(').next().unwrap_or_default().to_owned()
    }
}

fn step() -> impl Strategy<Value = Step> {
    // What came last is what most happens to.
    let any = || prop_oneof![2 => 0..2_usize, 1 => 0..64_usize];
    let seconds = prop_oneof![
        3 => Just(1),
        3 => Just(GRACE_SECONDS + 1),
        2 => Just(TICKET_SECONDS),
        2 => Just(CAPABILITY_SECONDS + 1),
        2 => Just(TOKEN_SECONDS),
        1 => Just(ACCESS_SECONDS + 1),
        1 => Just(UNUSED_SECONDS),
    ];
    // What is simpler stands first: a shorter sequence tends to it.
    prop_oneof![
        8 => Just(Step::Login),
        2 => any().prop_map(Step::Logout),
        1 => Just(Step::Disable),
        1 => any().prop_map(Step::ChangePassword),
        1 => Just(Step::ResetPassword),
        4 => (any(), prop::bool::ANY).prop_map(|(by, ends)| Step::MakeToken(by, ends)),
        3 => (any(), any()).prop_map(|(by, which)| Step::RevokeToken(by, which)),
        7 => any().prop_map(Step::Connect),
        4 => any().prop_map(Step::AskForATicket),
        5 => any().prop_map(Step::UseATicket),
        3 => any().prop_map(Step::AskForACapability),
        8 => any().prop_map(Step::Refresh),
        3 => any().prop_map(Step::RefreshWithThePrevious),
        2 => (any(), any()).prop_map(|(login, which)| Step::RefreshWithAnOldOne(login, which)),
        1 => (any(), any()).prop_map(|(by, which)| Step::EndLogin(by, which)),
        5 => (any(), any()).prop_map(|(socket, by)| Step::Renew(socket, by)),
        4 => Just(Step::Enable),
        1 => Just(Step::LoginWithAWrongPassword),
        5 => seconds.prop_map(Step::Wait),
    ]
}

#[test]
fn no_sequence_lets_a_dead_credential_through() {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    // Longer than a failure takes that is answered at once; where one waits in vain for a close, this is the bound.
    config.max_shrink_time = 300_000;
    let usual = std::env::var_os("PROPTEST_CASES").is_none();
    if usual {
        config.cases = CASES;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(seeds(&[1])[0]);
    }
    println!("{:?}, {} cases", config.rng_seed, config.cases);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let minutes = (ACCESS_SECONDS / 60).to_string();
    let settings =
        [("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", minutes.as_str()), ("MESH_JWT_REFRESH_TOKEN_EXPIRE_DAYS", "1")];
    let (server, room) = runtime.block_on(async {
        let server = Server::start_with(&settings).await;
        let ana = server.register("ana").await;
        let room = server.room(&ana, "Cuisine").await;
        (server, room)
    });
    let (case, did) = (Cell::new(0_u32), RefCell::new(BTreeMap::<String, u32>::new()));
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..50), |steps| {
        case.set(case.get() + 1);
        runtime.block_on(async {
            let mut model = Model::new(&server, &room, &format!("ben{}", case.get())).await;
            for step in steps {
                if model.step(step).await.is_some() {
                    *did.borrow_mut().entry(step.name()).or_default() += 1;
                }
                model.look().await;
            }
            model.refresh_all().await;
        });
        Ok(())
    });
    if let Err(TestError::Fail(reason, steps)) = &outcome {
        panic!("after {} sequences, the shortest that fails: {steps:?}\n{reason}", case.get());
    }
    outcome.unwrap();
    runtime.block_on(server.stop());
    let did = did.into_inner();
    println!("{did:?}");
    assert!(!usual || did.len() == 19, "chance did too little: {did:?}");
}
