//! A watch around handlers: what each was handed, in which order, and how each call ended.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use silvertine_engine::{
    bus::{Context, Figure, Handler, HandlerError, Priority},
    event::{Event, TopicSet},
    text::Name,
};

/// What the handlers of one engine were handed, and how each call ended. Each handler notes its own calls
/// and hands them in when the engine is dropped; a shared number puts them in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallLog {
    next: Arc<AtomicU64>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(super) handlers: Vec<Registered>,
    pub(super) calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    pub(super) name: Name,
    pub(super) priority: Priority,
    pub(super) topics: TopicSet,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    number: u64,
    pub(super) seq: u64,
    pub(super) handler: usize,
    pub(super) ended_well: bool,
}

impl CallLog {
    /// Puts a watch around a handler.
    pub(crate) fn watch(
        &self,
        name: Name,
        priority: Priority,
        inner: Box<dyn Handler>,
    ) -> Box<dyn Handler> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let handler = calls.handlers.len();
        calls.handlers.push(Registered { name, priority, topics: inner.topics() });
        Box::new(Watched { inner, handler, calls: Vec::new(), log: self.clone() })
    }

    /// All calls in order, once the engine is gone.
    pub(crate) fn take(&self) -> Calls {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        // Each handler's calls are in order already, and this sort merges what is.
        calls.calls.sort_by_key(|call| call.number);
        std::mem::take(&mut calls)
    }
}

struct Watched {
    inner: Box<dyn Handler>,
    handler: usize,
    calls: Vec<Call>,
    log: CallLog,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut calls = self.log.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.calls.append(&mut self.calls);
    }
}

impl Handler for Watched {
    fn topics(&self) -> TopicSet {
        self.inner.topics()
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let number = self.log.next.fetch_add(1, Ordering::Relaxed);
        // Stays so when the handler panics.
        let ended_well = false;
        let call = Call { number, seq: event.pos.seq, handler: self.handler, ended_well };
        self.calls.push(call);
        let result = self.inner.handle(event, ctx);
        if let Some(call) = self.calls.last_mut() {
            call.ended_well = result.is_ok();
        }
        result
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        self.inner.save()
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        self.inner.load(state)
    }

    fn figures(&self) -> Vec<(&'static str, Figure)> {
        self.inner.figures()
    }
}
