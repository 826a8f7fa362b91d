//! Who types in a shared terminal besides its owner: at most one peer at any moment.

use mesh_protocol::{PeerId, UserId, limits::MAX_CONTROL_ASKED};

use super::gone::End;

/// Who controls a terminal, and who has asked to.
#[derive(Clone, Debug, Default)]
pub struct Control {
    controller: Option<End>,
    /// Until when it can be granted, Unix milliseconds: their capability's end.
    asked: Vec<(End, i64)>,
}

/// Something that happens to it.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer asks, and its capability ends then.
    Ask(End, i64),
    /// The owner lets a peer type.
    Grant(PeerId),
    /// A connection types no more.
    Release(u64),
    /// The owner lets nobody type any more.
    Revoke,
    /// A connection is gone.
    Gone(u64),
    /// Somebody may not be here any more, or not with this.
    Removed(UserId),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing to tell.
    Nothing,
    /// The owner is to be asked.
    Asked,
    /// This peer types from now on, or none.
    Changed(Option<PeerId>),
}

/// Why something is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another peer types.
    Taken,
    /// That peer has not asked, or its capability has ended.
    NotAsked,
    /// Too many wait.
    TooMany,
    /// The caller does not type.
    NotControlling,
}

impl Control {
    /// Who types.
    pub fn controller(&self) -> Option<&End> {
        self.controller.as_ref()
    }

    /// What `input` makes of it at `now` (Unix milliseconds).
    ///
    /// # Errors
    /// Why it is not done; then nothing has changed.
    pub fn step(&mut self, input: Input, now: i64) -> Result<Output, Refusal> {
        match input {
            Input::Ask(party, until) => {
                self.asked.retain(|(who, ends)| who.conn != party.conn && *ends > now);
                if self.asked.len() >= MAX_CONTROL_ASKED {
                    return Err(Refusal::TooMany);
                }
                self.asked.push((party, until));
                Ok(Output::Asked)
            }
            Input::Grant(peer) => {
                if let Some(controller) = &self.controller {
                    return if controller.peer == peer { Ok(Output::Nothing) } else { Err(Refusal::Taken) };
                }
                // The newest: an older one may be a connection whose place it took.
                let at = self.asked.iter().rposition(|(who, ends)| who.peer == peer && *ends > now);
                let (party, _) = self.asked.remove(at.ok_or(Refusal::NotAsked)?);
                self.controller = Some(party);
                Ok(Output::Changed(Some(peer)))
            }
            Input::Release(conn) => {
                if self.controller.as_ref().is_none_or(|controller| controller.conn != conn) {
                    return Err(Refusal::NotControlling);
                }
                Ok(self.free())
            }
            Input::Revoke => Ok(self.free()),
            Input::Gone(conn) => Ok(self.without(|party| party.conn == conn)),
            Input::Removed(user) => Ok(self.without(|party| party.user == user)),
        }
    }

    /// A connection has not asked after all.
    pub fn take_back(&mut self, conn: u64) {
        self.asked.retain(|(party, _)| party.conn != conn);
    }

    fn free(&mut self) -> Output {
        self.controller.take().map_or(Output::Nothing, |_| Output::Changed(None))
    }

    fn without(&mut self, is_it: impl Fn(&End) -> bool) -> Output {
        self.asked.retain(|(party, _)| !is_it(party));
        if self.controller.as_ref().is_some_and(is_it) { self.free() } else { Output::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn party(n: u8) -> End {
        let user = UserId::new(Uuid::from_u128(u128::from(n % 3) + 1));
        End { user, conn: u64::from(n), peer: format!("peer_{n}").parse().unwrap() }
    }

    fn input() -> impl Strategy<Value = Input> {
        let n = 0..6_u8;
        prop_oneof![
            3 => (n.clone(), 0..200_i64).prop_map(|(n, left)| Input::Ask(party(n), NOW + left)),
            3 => n.clone().prop_map(|n| Input::Grant(party(n).peer)),
            1 => n.clone().prop_map(|n| Input::Release(u64::from(n))),
            1 => Just(Input::Revoke),
            1 => n.clone().prop_map(|n| Input::Gone(u64::from(n))),
            1 => n.prop_map(|n| Input::Removed(party(n).user)),
        ]
    }

    proptest! {
        /// What is told is what holds, from one telling to the next: whoever only listens knows who types. Nobody types
        /// who has not asked, with a capability that lasted, or who has gone since; and nobody takes it from another.
        #[test]
        fn one_types_at_most_and_everybody_knows_who(inputs in prop::collection::vec((input(), 0..60_i64), 1..120)) {
            let mut control = Control::default();
            let mut told: Option<PeerId> = None;
            let mut asked = std::collections::HashMap::<PeerId, i64>::new();
            let mut now = NOW;
            for (input, later) in inputs {
                now += later;
                let before = control.clone();
                let output = control.step(input.clone(), now);
                match &output {
                    Ok(Output::Changed(controller)) => {
                        prop_assert_ne!(&told, controller, "told twice");
                        if controller.is_some() {
                            prop_assert!(told.is_none(), "taken from another");
                        }
                        told.clone_from(controller);
                    }
                    Ok(_) => {}
                    Err(_) => {
                        prop_assert_eq!(before.controller(), control.controller());
                    }
                }
                prop_assert_eq!(control.controller().map(|party| &party.peer), told.as_ref());
                prop_assert!(control.asked.len() <= MAX_CONTROL_ASKED);
                match input {
                    Input::Ask(party, until) => {
                        if output.is_ok() {
                            asked.insert(party.peer, until);
                        }
                    }
                    Input::Grant(peer) => {
                        if let Ok(Output::Changed(_)) = output {
                            prop_assert!(asked.remove(&peer).is_some_and(|until| until > now), "had not asked");
                        }
                    }
                    Input::Gone(conn) => {
                        asked.retain(|peer, _| (0..6).all(|n| u64::from(n) != conn || party(n).peer != *peer));
                        prop_assert!(control.controller().is_none_or(|party| party.conn != conn));
                    }
                    Input::Removed(user) => {
                        asked.retain(|peer, _| (0..6).all(|n| party(n).user != user || party(n).peer != *peer));
                        prop_assert!(control.controller().is_none_or(|party| party.user != user));
                    }
                    Input::Release(_) | Input::Revoke => {}
                }
            }
        }
    }

    #[test]
    fn those_who_wait_are_bounded_and_lapse() {
        let mut control = Control::default();
        let peer = |n: usize| party(u8::try_from(n).unwrap());
        for n in 0..MAX_CONTROL_ASKED {
            assert_eq!(control.step(Input::Ask(peer(n), NOW + 60), NOW), Ok(Output::Asked));
        }
        let one_more = Input::Ask(peer(MAX_CONTROL_ASKED), NOW + 120);
        assert_eq!(control.step(one_more.clone(), NOW), Err(Refusal::TooMany));
        // Asked again, one waits once.
        assert_eq!(control.step(Input::Ask(peer(0), NOW + 60), NOW), Ok(Output::Asked));
        assert_eq!(control.step(one_more, NOW + 60), Ok(Output::Asked));
        assert_eq!(control.step(Input::Grant(peer(0).peer), NOW + 60), Err(Refusal::NotAsked));
    }
}
