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
    /// Take a copy of all of it along.
    Export,
    /// Make somebody a member, with this role.
    AddMember(MemberRole),
    /// Hold a capability token.
    Hold(Capability),
}

/// Whether a member with `role` may do `action`.
pub fn allows(role: MemberRole, action: RoomAction) -> bool {
    match action {
        RoomAction::Read | RoomAction::Send => true,
        RoomAction::DeleteAny => role >= MemberRole::Admin,
        RoomAction::Export => role == MemberRole::Owner,
        // A guest may be spoken with and look on, but hands nothing over and touches nothing.
        RoomAction::Hold(Capability::Call | Capability::Screen | Capability::TerminalView) => true,
        RoomAction::Hold(_) => role >= MemberRole::Member,
        // Nobody grants above their own role, and a room has one owner.
        RoomAction::AddMember(granted) => role >= MemberRole::Admin && granted <= role && granted != MemberRole::Owner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberRole::{Admin, Guest, Member, Owner};

    #[test]
    fn the_matrix() {
        for role in [Guest, Member, Admin, Owner] {
            assert!(allows(role, RoomAction::Read) && allows(role, RoomAction::Send));
        }
        let may_add = |role, granted| allows(role, RoomAction::AddMember(granted));
        for (role, expected) in [
            (Guest, [false, false, false, false]),
            (Member, [false, false, false, false]),
            (Admin, [true, true, true, false]),
            (Owner, [true, true, true, false]),
        ] {
            assert_eq!([Guest, Member, Admin, Owner].map(|granted| may_add(role, granted)), expected, "{role:?}");
        }
    }

    #[test]
    fn guests_hold_what_touches_nothing() {
        let held =
            |role| Capability::ALL.iter().copied().filter(|c| allows(role, RoomAction::Hold(*c))).collect::<Vec<_>>();
        assert_eq!(held(Guest), [Capability::Call, Capability::Screen, Capability::TerminalView]);
        for role in [Member, Admin, Owner] {
            assert_eq!(held(role), Capability::ALL, "{role:?}");
        }
    }
}
