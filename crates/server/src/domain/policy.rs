//! Who may do what in a room: one matrix, asked by every use-case.

use mesh_protocol::model::{Capability, MemberRole};

/// Something that a member may or may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomAction {
    /// See the room, its members and what was said.
    Read,
    /// Say something, or react; change and take back the own.
    Send,
    /// Delete what others said.
    DeleteAny,
    /// Change its name, its description and who may find it.
    Edit,
    /// Say how long messages are kept.
    SetRetention,
    /// Delete the room.
    Delete,
    /// Take a copy of all of it along.
    Export,
    /// Make somebody a member, with this role.
    AddMember(MemberRole),
    /// Give a member who has the role `target` another one.
    ChangeRole {
        /// The role until now.
        target: MemberRole,
        /// The role from now on.
        granted: MemberRole,
    },
    /// Give up the own role for this one.
    StepDown(MemberRole),
    /// Make another member the owner.
    HandOver,
    /// Put out a member who has this role.
    Kick(MemberRole),
    /// Keep somebody out for good, or let them in again: a member with this role, or somebody who is none.
    Ban(Option<MemberRole>),
    /// Make, see and end invites.
    Invite,
    /// Announce a file or a terminal, and go on doing so.
    Share,
    /// Hold a capability token.
    Hold(Capability),
    /// Make everybody's devices ring.
    Ring,
}

/// Whether a member with `role` may do `action`.
pub fn allows(role: MemberRole, action: RoomAction) -> bool {
    use MemberRole::{Admin, Member, Owner};
    match action {
        RoomAction::Read | RoomAction::Send => true,
        RoomAction::DeleteAny | RoomAction::Edit | RoomAction::Invite => role >= Admin,
        RoomAction::SetRetention | RoomAction::Delete | RoomAction::HandOver | RoomAction::Export => role == Owner,
        // A guest may be spoken with and look on, but hands nothing over and touches nothing.
        RoomAction::Ring | RoomAction::Hold(Capability::Call | Capability::Screen | Capability::TerminalView) => true,
        RoomAction::Share | RoomAction::Hold(_) => role >= Member,
        // Nobody grants above their own role, and a room has one owner.
        RoomAction::AddMember(granted) => role >= Admin && granted <= role && granted != Owner,
        // Whoever manages others stands above them.
        RoomAction::ChangeRole { target, granted } => {
            role >= Admin && target < role && granted <= role && granted != Owner
        }
        // An owner hands over instead.
        RoomAction::StepDown(granted) => role != Owner && granted <= role,
        RoomAction::Kick(target) => role >= Admin && target < role,
        RoomAction::Ban(target) => role >= Admin && target.is_none_or(|target| target < role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberRole::{Admin, Guest, Member, Owner};

    const ROLES: [MemberRole; 4] = [Guest, Member, Admin, Owner];

    /// Every action, with every role that it may bear. A new one does not compile before it stands here.
    fn every_action() -> Vec<RoomAction> {
        let mut next = Some(RoomAction::Read);
        let mut all = Vec::new();
        while let Some(action) = next {
            let (these, then) = match action {
                RoomAction::Read => (vec![action], Some(RoomAction::Send)),
                RoomAction::Send => (vec![action], Some(RoomAction::DeleteAny)),
                RoomAction::DeleteAny => (vec![action], Some(RoomAction::Edit)),
                RoomAction::Edit => (vec![action], Some(RoomAction::SetRetention)),
                RoomAction::SetRetention => (vec![action], Some(RoomAction::Delete)),
                RoomAction::Delete => (vec![action], Some(RoomAction::Export)),
                RoomAction::Export => (vec![action], Some(RoomAction::AddMember(Guest))),
                RoomAction::AddMember(_) => (
                    ROLES.map(RoomAction::AddMember).to_vec(),
                    Some(RoomAction::ChangeRole { target: Guest, granted: Guest }),
                ),
                RoomAction::ChangeRole { .. } => (
                    ROLES
                        .iter()
                        .flat_map(|&target| ROLES.map(|granted| RoomAction::ChangeRole { target, granted }))
                        .collect(),
                    Some(RoomAction::StepDown(Guest)),
                ),
                RoomAction::StepDown(_) => (ROLES.map(RoomAction::StepDown).to_vec(), Some(RoomAction::HandOver)),
                RoomAction::HandOver => (vec![action], Some(RoomAction::Kick(Guest))),
                RoomAction::Kick(_) => (ROLES.map(RoomAction::Kick).to_vec(), Some(RoomAction::Ban(None))),
                RoomAction::Ban(_) => (
                    std::iter::once(None).chain(ROLES.map(Some)).map(RoomAction::Ban).collect(),
                    Some(RoomAction::Invite),
                ),
                RoomAction::Invite => (vec![action], Some(RoomAction::Share)),
                RoomAction::Share => (vec![action], Some(RoomAction::Hold(Capability::Call))),
                RoomAction::Hold(_) => {
                    (Capability::ALL.iter().copied().map(RoomAction::Hold).collect(), Some(RoomAction::Ring))
                }
                RoomAction::Ring => (vec![action], None),
            };
            all.extend(these);
            next = then;
        }
        all
    }

    /// The matrix, written out: which of guest, member, admin and owner may.
    fn expected(action: RoomAction) -> [bool; 4] {
        const ALL: [bool; 4] = [true; 4];
        const NOT_GUESTS: [bool; 4] = [false, true, true, true];
        const MANAGERS: [bool; 4] = [false, false, true, true];
        const THE_OWNER: [bool; 4] = [false, false, false, true];
        const NOBODY: [bool; 4] = [false; 4];
        match action {
            RoomAction::Read | RoomAction::Send => ALL,
            RoomAction::DeleteAny | RoomAction::Edit | RoomAction::Invite | RoomAction::Ban(None) => MANAGERS,
            RoomAction::SetRetention | RoomAction::Delete | RoomAction::Export | RoomAction::HandOver => THE_OWNER,
            RoomAction::AddMember(Guest | Member | Admin) => MANAGERS,
            RoomAction::AddMember(Owner) | RoomAction::ChangeRole { granted: Owner, .. } => NOBODY,
            RoomAction::ChangeRole { target, .. } | RoomAction::Kick(target) | RoomAction::Ban(Some(target)) => {
                match target {
                    Guest | Member => MANAGERS,
                    Admin => THE_OWNER,
                    Owner => NOBODY,
                }
            }
            RoomAction::StepDown(Guest) => [true, true, true, false],
            RoomAction::StepDown(Member) => [false, true, true, false],
            RoomAction::StepDown(Admin) => [false, false, true, false],
            RoomAction::StepDown(Owner) => NOBODY,
            RoomAction::Hold(Capability::Call | Capability::Screen | Capability::TerminalView) => ALL,
            RoomAction::Ring => ALL,
            RoomAction::Share => NOT_GUESTS,
            RoomAction::Hold(Capability::ShareFile | Capability::ShareFolder | Capability::TerminalControl) => {
                NOT_GUESTS
            }
        }
    }

    #[test]
    fn the_matrix() {
        let actions = every_action();
        assert_eq!(actions.len(), 50);
        for action in actions {
            assert_eq!(ROLES.map(|role| allows(role, action)), expected(action), "{action:?}");
        }
    }
}
