//! One registered handler: its place in the order, its circuit, and its isolation from panics.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};

use serde::{Deserialize, Serialize};

use super::{Context, Handler, HandlerError, Priority, context::Staged};
use crate::{
    circuit::{Admission, Circuit, CircuitConfig, Transition},
    event::{Event, System},
    text::Name,
};

/// The longest reason that is recorded, in bytes.
const REASON_LIMIT: usize = 1024;

pub(crate) struct Slot {
    pub(crate) name: Name,
    pub(crate) priority: Priority,
    pub(crate) handler: Box<dyn Handler>,
    circuit: Circuit,
}

/// A slot as stored in a snapshot.
#[derive(Serialize, Deserialize)]
pub(crate) struct SlotState {
    pub(crate) name: Name,
    circuit: Circuit,
    #[serde(with = "crate::bytes")]
    state: Vec<u8>,
}

/// The result of delivering an event to a handler. The outcomes are recorded in their order, before what the handler
/// staged.
pub(crate) enum Verdict {
    /// The circuit is open; the handler was not called.
    PassedOver,
    /// It succeeded, nothing to record.
    Done,
    /// There are outcomes to record; `succeeded` says whether to apply what the handler staged.
    Noted { succeeded: bool, outcomes: Vec<System> },
}

impl Slot {
    pub(crate) fn new(name: Name, priority: Priority, handler: Box<dyn Handler>) -> Self {
        Self { name, priority, handler, circuit: Circuit::default() }
    }

    /// Delivers `event` to the handler. `circuit` is `None` on topics that halt: the breaker counts only failures that the
    /// run continues past.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        event: &Event,
        seed: u64,
        cascade_budget: usize,
        staged: &mut Staged,
        circuit: Option<&CircuitConfig>,
    ) -> Verdict {
        let admission = self.circuit.admit(event.time);
        if admission == Admission::Refuse {
            return Verdict::PassedOver;
        }
        let ended = self.call(event, seed, cascade_budget, staged);
        self.note(event, admission, ended, circuit)
    }

    /// Delivers an event that is parked when the handler fails. The circuit does not count the failure, since a parked key
    /// causes no more calls.
    pub(crate) fn deliver_or_undo(
        &mut self,
        event: &Event,
        seed: u64,
        cascade_budget: usize,
        staged: &mut Staged,
    ) -> Verdict {
        let admission = self.circuit.admit(event.time);
        if admission == Admission::Refuse {
            return Verdict::PassedOver;
        }
        let ended = self.call_or_undo(event, seed, cascade_budget, staged);
        self.note(event, admission, ended, None)
    }

    /// Tells the circuit how a call ended, and returns what to record.
    #[inline]
    fn note(
        &mut self,
        event: &Event,
        admission: Admission,
        ended: Result<(), String>,
        circuit: Option<&CircuitConfig>,
    ) -> Verdict {
        match ended {
            Ok(()) if admission == Admission::Pass && self.is_calm() => Verdict::Done,
            Ok(()) => self.note_success(admission),
            Err(reason) => self.note_failure(event, admission, reason, circuit),
        }
    }

    /// Calls the handler and restores its state when it fails, so that the event can be retried and replay can leave out
    /// the call. The error is the reason.
    ///
    /// # Panics
    /// When the handler does not load what it has just saved: its state is unknown then.
    pub(crate) fn call_or_undo(
        &mut self,
        event: &Event,
        seed: u64,
        cascade_budget: usize,
        staged: &mut Staged,
    ) -> Result<(), String> {
        let cannot_save = |why| bounded(&format!("its state cannot be saved: {why}"));
        let before = self.handler.save().map_err(cannot_save)?;
        self.call(event, seed, cascade_budget, staged).inspect_err(|_| {
            if let Err(why) = self.handler.load(&before) {
                panic!("{} does not load the state that it has just saved: {why}", self.name);
            }
        })
    }

    /// Calls the handler and catches a panic. The error is the reason of the failure.
    #[inline]
    fn call(
        &mut self,
        event: &Event,
        seed: u64,
        cascade_budget: usize,
        staged: &mut Staged,
    ) -> Result<(), String> {
        let mut ctx = Context {
            handler: self.name,
            seed,
            event,
            draws: 0,
            cascade_budget,
            overran: false,
            staged,
        };
        let handler = &mut self.handler;
        let result = panic::catch_unwind(AssertUnwindSafe(|| handler.handle(event, &mut ctx)));
        match result {
            Ok(Ok(())) if !ctx.overran => Ok(()),
            Ok(Ok(())) => Err("emitted more events than one input may cause".to_owned()),
            Ok(Err(error)) => Err(bounded(error.message())),
            Err(payload) => Err(bounded(&format!("panicked: {}", panic_text(&*payload)))),
        }
    }

    /// Repeats, for replay, a failure that halted the engine or parked the event. The handler is not called: a corrected
    /// build would not fail, and the log does not hold what the failed call changed in the handler's state.
    #[cold]
    pub(crate) fn fail_again(&mut self, event: &Event, reason: String) -> Verdict {
        match self.circuit.admit(event.time) {
            Admission::Refuse => Verdict::PassedOver,
            admission => self.note_failure(event, admission, reason, None),
        }
    }

    /// Closed without a failure: nothing to update on success.
    #[inline]
    fn is_calm(&self) -> bool {
        matches!(self.circuit, Circuit::Closed { failures: 0 })
    }

    #[cold]
    fn note_success(&mut self, admission: Admission) -> Verdict {
        let mut outcomes = self.half_open_note(admission);
        if self.circuit.succeed() == Transition::Closed {
            outcomes.push(System::CircuitClosed { handler: self.name });
        }
        Verdict::Noted { succeeded: true, outcomes }
    }

    #[cold]
    fn note_failure(
        &mut self,
        event: &Event,
        admission: Admission,
        reason: String,
        circuit: Option<&CircuitConfig>,
    ) -> Verdict {
        tracing::warn!(handler = %self.name, pos = %event.pos, %reason, "handler failed");
        let mut outcomes = self.half_open_note(admission);
        let handler = self.name;
        outcomes.push(System::HandlerFailed { handler, event: event.header.id, reason });
        if let Some(config) = circuit
            && let Transition::Opened { until } = self.circuit.fail(event.time, config)
        {
            outcomes.push(System::CircuitOpened { handler, until });
        }
        Verdict::Noted { succeeded: false, outcomes }
    }

    fn half_open_note(&self, admission: Admission) -> Vec<System> {
        match admission {
            Admission::Try => vec![System::CircuitHalfOpened { handler: self.name }],
            Admission::Pass | Admission::Refuse => Vec::new(),
        }
    }

    pub(crate) fn save(&self) -> Result<SlotState, HandlerError> {
        Ok(SlotState { name: self.name, circuit: self.circuit, state: self.handler.save()? })
    }

    pub(crate) fn load(&mut self, saved: &SlotState) -> Result<(), HandlerError> {
        self.circuit = saved.circuit;
        self.handler.load(&saved.state)
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// `text`, cut at a character boundary to the longest reason that is recorded.
fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(REASON_LIMIT)].to_owned()
}
