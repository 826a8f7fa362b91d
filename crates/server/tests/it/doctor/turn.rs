//! The doctor and a real coturn.

use tempfile::TempDir;

use super::Visit;
use crate::kit::{Coturn, coturn::WITH_SECRET};

/// The doctor's findings over UDP and TCP; nothing else is there in the folder.
fn visit(coturn: &Coturn, settings: &[(&str, &str)]) -> Visit {
    let dir = TempDir::new().unwrap();
    let (host, port) = (coturn.address.ip().to_string(), coturn.address.port().to_string());
    let mut all =
        vec![("TURN_HOST", host.as_str()), ("TURN_PORT", port.as_str()), ("MESH_PUBLIC_URL", "http://127.0.0.1:1")];
    all.extend_from_slice(settings);
    let visit = Visit::pay(dir.path(), &all);
    for secret in ["north", "south", "hunter2"] {
        assert!(!visit.printed.contains(secret), "{}", visit.printed);
    }
    visit
}

#[test]
fn turn_allocates_permits_and_relays() {
    let Some(coturn) = Coturn::start(WITH_SECRET) else { return };
    let visit = visit(&coturn, &[("TURN_SECRET", "north")]);
    for name in ["turn_udp", "turn_tcp"] {
        assert!(visit.ok(name).contains("permits and relays, there and back"), "{}", visit.printed);
    }
}

#[test]
fn a_wrong_secret_is_told_from_a_wrong_order_of_secrets() {
    let Some(coturn) = Coturn::start(WITH_SECRET) else { return };
    for (secret, words) in [("south", "the secret is wrong"), ("south,north", "takes secret number 2")] {
        let visit = visit(&coturn, &[("TURN_SECRET", secret)]);
        visit.failed("turn_udp", words);
        visit.failed("turn_tcp", words);
    }
}

#[test]
fn a_fixed_account_is_taken_or_named_with_its_realm() {
    let Some(coturn) = Coturn::start(&["lt-cred-mech", "user=ana:hunter2", "realm=mesh.test", "allow-loopback-peers"])
    else {
        return;
    };
    let right = visit(&coturn, &[("TURN_USERNAME", "ana"), ("TURN_PASSWORD", "hunter2")]);
    right.ok("turn_udp");
    right.ok("turn_tcp");
    let wrong = visit(&coturn, &[("TURN_USERNAME", "ana"), ("TURN_PASSWORD", "hunter2!")]);
    wrong.failed("turn_udp", "in its realm \"mesh.test\"");
    wrong.failed("turn_tcp", "does not take TURN_USERNAME and TURN_PASSWORD");
    // Ephemeral credentials, where the server knows accounts alone.
    visit(&coturn, &[("TURN_SECRET", "north")]).failed("turn_udp", "the secret is wrong");
}

#[test]
fn a_relay_for_everybody_and_one_that_speaks_udp_alone_are_found() {
    let Some(coturn) = Coturn::start(&["no-auth", "realm=mesh.test", "no-tcp"]) else { return };
    let visit = visit(&coturn, &[("TURN_SECRET", "north")]);
    visit.failed("turn_udp", "relays for everybody");
    visit.failed("turn_tcp", "nothing listens at");
}

#[test]
fn a_server_that_does_stun_alone_is_found() {
    let Some(coturn) = Coturn::start(&["stun-only"]) else { return };
    let visit = visit(&coturn, &[("TURN_SECRET", "north")]);
    assert!(visit.failures().contains(&"turn_udp") && visit.failures().contains(&"turn_tcp"), "{}", visit.printed);
}

#[test]
fn rules_against_private_addresses_are_no_fault_and_against_all_they_are() {
    // Without `allow-loopback-peers` coturn refuses this machine's address.
    let strict = &["use-auth-secret", "static-auth-secret=north", "realm=mesh.test"];
    let Some(coturn) = Coturn::start(strict) else { return };
    let found = visit(&coturn, &[("TURN_SECRET", "north")]);
    assert!(found.ok("turn_udp").contains("nothing was relayed"), "{}", found.printed);
    found.ok("turn_tcp");
    let all = [strict.as_slice(), &["denied-peer-ip=0.0.0.0-255.255.255.255"]].concat();
    let Some(coturn) = Coturn::start(&all) else { return };
    visit(&coturn, &[("TURN_SECRET", "north")]).failed("turn_udp", "permits no address");
}
