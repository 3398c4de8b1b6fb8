//! Strikes: what the plan has happen at a time, and whom it strikes.

use silvertine_engine::span::Span;
use silvertine_streams::Streams;

use super::{
    fault::Fault,
    members::Members,
    network::Network,
    operators::Operators,
    plan::{Strike, StrikeKind},
    promise::Checked,
    stage::Stage,
    trace::Who,
};

/// Lets a strike happen. One that strikes a member does nothing when no member is up.
///
/// # Errors
/// The store does not give again what it gave before, when its writes are carried out again for a failover.
pub(super) fn strike<S: Streams>(
    strike: Strike,
    members: &mut Members,
    operators: &mut Operators,
    network: &mut Network<'_, S>,
    stage: &mut Stage<'_>,
) -> Checked {
    let Strike { what, draw, .. } = strike;
    let up = members.up();
    let victim = (!up.is_empty()).then(|| up[(draw % up.len() as u64) as usize]);
    let who = |victim: usize| Who::Member(victim as u32);
    match (what, victim) {
        (StrikeKind::Crash, Some(victim)) => {
            stage.strike(who(victim), Fault::Crash);
            members.die(victim, network, stage);
        }
        (StrikeKind::Pause { lasts }, Some(victim)) => {
            stage.strike(who(victim), Fault::Pause);
            members.pause(victim, lasts.as_nanos(), stage);
        }
        (StrikeKind::Drain { grace }, Some(victim)) => {
            stage.strike(who(victim), Fault::Drain);
            members.drain(victim, grace.as_nanos(), stage);
        }
        (StrikeKind::Outage { lasts }, _) => enter(Fault::Outage, lasts, network, stage),
        (StrikeKind::Stall { lasts }, _) => enter(Fault::Stall, lasts, network, stage),
        (StrikeKind::Restart { lasts }, _) => {
            enter(Fault::Restart, lasts, network, stage);
            network.reset(stage);
        }
        (StrikeKind::Failover { lasts, lose }, _) => {
            enter(Fault::Failover, lasts, network, stage);
            network.reset(stage);
            network.server.fail_over(lose, stage)?;
            members.forget_what_is_done();
        }
        (StrikeKind::ClockJump { by_ns }, _) => {
            stage.strike(Who::World, Fault::ClockJump);
            stage.clock.jump(by_ns);
            if by_ns > 0 {
                network.server.witness.leases_may_have_run_out();
            }
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
    Ok(())
}

/// The server is in a state for a while.
fn enter<S: Streams>(
    state: Fault,
    lasts: Span,
    network: &mut Network<'_, S>,
    stage: &mut Stage<'_>,
) {
    stage.strike(Who::World, state);
    network.server.enter(state, stage.now_ns() + lasts.as_nanos());
}
