//! Strikes: what the plan has happen at a time, and whom it strikes.

use silvertine_streams::Streams;

use super::{
    fault::Fault,
    members::Members,
    network::Network,
    operators::Operators,
    plan::{Strike, StrikeKind},
    stage::Stage,
    trace::Who,
};

/// Lets a strike happen. One that strikes a member does nothing when no member is up.
pub(super) fn strike<S: Streams>(
    strike: Strike,
    members: &mut Members,
    operators: &mut Operators,
    network: &mut Network<'_, S>,
    stage: &mut Stage<'_>,
) {
    let Strike { what, draw, .. } = strike;
    let up = members.up();
    let victim = (!up.is_empty()).then(|| up[(draw % up.len() as u64) as usize]);
    let who = |victim: usize| Who::Member(victim as u32);
    match (what, victim) {
        (StrikeKind::Crash, Some(victim)) => {
            stage.strike(who(victim), Fault::Crash);
            members.die(victim, network, stage);
        }
        (StrikeKind::Pause { ns }, Some(victim)) => {
            stage.strike(who(victim), Fault::Pause);
            members.pause(victim, ns, stage);
        }
        (StrikeKind::Drain { grace_ns }, Some(victim)) => {
            stage.strike(who(victim), Fault::Drain);
            members.drain(victim, grace_ns, stage);
        }
        (StrikeKind::Outage { ns }, _) => {
            stage.strike(Who::World, Fault::Outage);
            network.server.go_away(stage.now_ns + ns);
        }
        (StrikeKind::Stranger, _) => {
            let ids = network.server.witness.deletable();
            if !ids.is_empty() {
                let id = &ids[(draw % ids.len() as u64) as usize];
                network.server.delete(id, stage);
            }
        }
        (StrikeKind::Redrive { contended }, _) => {
            operators.begin(draw, contended, network, stage);
        }
        (StrikeKind::Crash | StrikeKind::Pause { .. } | StrikeKind::Drain { .. }, None) => {}
    }
}
