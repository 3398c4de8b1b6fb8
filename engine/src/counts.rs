//! Totals of a log, counted from its entries.

use serde::{Deserialize, Serialize};

use crate::event::{Body, Event, Order, OrderStatus, Origin, System};

/// Totals over every entry since the log began; part of the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entries of all kinds.
    pub entries: u64,
    /// Inputs: market data, messages of producers, refused rows.
    pub inputs: u64,
    /// Signals.
    pub signals: u64,
    /// Orders submitted.
    pub orders: u64,
    /// Fills.
    pub fills: u64,
    /// Orders denied by risk or rejected by a venue.
    pub rejected: u64,
    /// Inputs refused at the door.
    pub refused_inputs: u64,
    /// Timers fired.
    pub timers: u64,
    /// Handler failures.
    pub handler_failures: u64,
}

impl Counts {
    /// Whether a log of `entries` entries can have these totals.
    pub(crate) fn are_of(&self, entries: u64) -> bool {
        let Self { inputs, signals, orders, fills, rejected, refused_inputs, timers, .. } = *self;
        let parts = [
            inputs,
            signals,
            orders,
            fills,
            rejected,
            refused_inputs,
            timers,
            self.handler_failures,
        ];
        self.entries == entries && parts.into_iter().all(|part| part <= entries)
    }

    #[inline]
    pub(crate) fn note(&mut self, event: &Event) {
        self.entries += 1;
        match event.origin {
            Origin::Input => self.inputs += 1,
            Origin::Timer => self.timers += 1,
            Origin::Decision | Origin::Outcome => {}
        }
        match &event.body {
            Body::MarketData(_) => {}
            Body::Signal(_) => self.signals += 1,
            Body::Order(order) => self.note_order(order),
            Body::Fill(_) => self.fills += 1,
            Body::System(System::Rejected { .. }) => self.refused_inputs += 1,
            Body::System(System::HandlerFailed { .. }) => self.handler_failures += 1,
            Body::System(_) => {}
        }
    }

    fn note_order(&mut self, order: &Order) {
        match order.status {
            OrderStatus::Submitted => self.orders += 1,
            OrderStatus::Denied { .. } | OrderStatus::Rejected { .. } => self.rejected += 1,
            _ => {}
        }
    }
}
