//! What a handler, a backtest and a live run need: `use silvertine::prelude::*;`.

pub use silvertine_engine::{
    bus::{Context, Figure, Handler, HandlerError, Priority, decode_state, encode_state},
    event::{
        Bar, Body, Event, EventId, Fill, Liquidity, MarketData, Order, OrderKind, OrderStatus,
        Quote, Side, Signal, System, Topic, TopicSet, Trade,
    },
    numbers::{Money, Price, Qty, Ratio},
    params::InvalidParams,
    source::{Input, Row, RowOrigin, Source, SourceCursor, SourceError},
    stop::StopFlag,
    text::{Name, Symbol},
    time::Nanos,
};
pub use silvertine_runtime::{
    LaunchError, Run, Speed,
    faults::{check, check_handler},
};
pub use silvertine_scenarios::{
    registry::{OpenError, Registry, SourceContext},
    runner::RunReport,
    scenario::Scenario,
    sources::{BadRow, Format, Parsed, TextSource},
};
