//! Content-based routing: which streams a message is passed on to, by what it says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GroupName, Message, StreamName};

/// Passes messages of a stream on to others. The first rule whose conditions all hold decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Route {
    /// The stream that is read.
    pub from: StreamName,
    /// The group it is read as.
    pub group: GroupName,
    /// The rules, in order.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
    /// Where messages go that no rule takes; nowhere when empty.
    #[serde(default)]
    pub otherwise: Vec<StreamName>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// All of these must hold.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Where the message goes then; nowhere when empty.
    pub to: Vec<StreamName>,
}

/// A condition on a message. Exactly one of `field` and `payload` says which value is tested. All tests that are given
/// must pass; where none is given, the value only has to exist.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// A field of the message, such as `type`, `symbol` or any header.
    pub field: Option<String>,
    /// A place in a JSON payload, as a JSON pointer such as `/order/price`.
    pub payload: Option<String>,
    /// It is this text.
    pub is: Option<String>,
    /// It is one of these texts.
    pub one_of: Option<Vec<String>>,
    /// It begins with this text.
    pub prefix: Option<String>,
    /// It is a number greater than this.
    pub above: Option<f64>,
    /// It is a number less than this.
    pub below: Option<f64>,
    /// Inverts the condition.
    pub not: bool,
}

/// Why a route makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// A condition says neither or both of what it looks at.
    #[error("the route from {from}: a condition needs either field or payload")]
    ConditionSubject {
        /// The stream that is read.
        from: StreamName,
    },
    /// A place in a payload is no JSON pointer.
    #[error("the route from {from}: a payload's place begins with /")]
    PayloadPointer {
        /// The stream that is read.
        from: StreamName,
    },
    /// The topology has no such stream.
    #[error("a route reads from {from}, which is no stream here")]
    UnknownSource {
        /// The stream that is read.
        from: StreamName,
    },
    /// The stream that is read has no such group.
    #[error("a route reads from {from} as {group}, which is no group of it")]
    UnknownGroup {
        /// The stream that is read.
        from: StreamName,
        /// The group it would be read as.
        group: GroupName,
    },
    /// The topology has no stream that the route leads to.
    #[error("the route from {from} leads to {to}, no stream here")]
    UnknownTarget {
        /// The stream that is read.
        from: StreamName,
        /// Where messages would go.
        to: StreamName,
    },
    /// The route leads back to the stream that is read.
    #[error("the route from {from} leads back to it")]
    Loop {
        /// The stream that is read.
        from: StreamName,
    },
}

impl Route {
    /// A route from `from`, read as `group`, that so far passes nothing on.
    #[must_use]
    pub const fn new(from: StreamName, group: GroupName) -> Self {
        Self { from, group, rules: Vec::new(), otherwise: Vec::new() }
    }

    /// The same route with this rule behind the others.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Checks what no parser can.
    ///
    /// # Errors
    /// [`RouteError`]: a condition looks at nothing or at two things, or a place in a payload is no JSON pointer.
    pub fn check(&self) -> Result<(), RouteError> {
        for condition in self.rules.iter().flat_map(|rule| &rule.when) {
            if condition.field.is_some() == condition.payload.is_some() {
                return Err(RouteError::ConditionSubject { from: self.from.clone() });
            }
            if condition.payload.as_ref().is_some_and(|place| !place.starts_with('/')) {
                return Err(RouteError::PayloadPointer { from: self.from.clone() });
            }
        }
        Ok(())
    }

    /// Where `message` goes.
    #[must_use]
    pub fn targets(&self, message: &Message) -> &[StreamName] {
        let asks_payload =
            self.rules.iter().flat_map(|rule| &rule.when).any(|when| when.payload.is_some());
        let payload: Option<Value> = match asks_payload {
            // A payload that is no JSON has no places to look at.
            true => serde_json::from_slice(message.payload()).ok(),
            false => None,
        };
        let holds =
            |rule: &&Rule| rule.when.iter().all(|when| when.holds(message, payload.as_ref()));
        self.rules.iter().find(holds).map_or(&self.otherwise, |rule| &rule.to)
    }
}

impl Condition {
    fn holds(&self, message: &Message, payload: Option<&Value>) -> bool {
        let found = match (&self.field, &self.payload) {
            (Some(field), _) => message.text(field).map(|text| text.into_owned()),
            (None, Some(place)) => payload.and_then(|payload| payload.pointer(place)).map(text_of),
            (None, None) => None,
        };
        found.is_some_and(|text| self.passes(&text)) != self.not
    }

    fn passes(&self, text: &str) -> bool {
        let number = || text.parse::<f64>().ok();
        self.is.as_ref().is_none_or(|wanted| wanted == text)
            && self.one_of.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one == text))
            && self.prefix.as_ref().is_none_or(|prefix| text.starts_with(prefix))
            && self.above.is_none_or(|least| number().is_some_and(|number| number > least))
            && self.below.is_none_or(|most| number().is_some_and(|number| number < most))
    }
}

/// A value as the tests see it: a text without its quotes, anything else as it is written.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> StreamName {
        StreamName::new(name).expect("a name")
    }

    fn route(rules: Vec<Rule>) -> Route {
        let group = GroupName::new("router").expect("a name");
        Route { from: name("a:b"), group, rules, otherwise: vec![name("rest:all")] }
    }

    #[test]
    fn the_first_rule_that_holds_decides() {
        let symbol = Condition {
            field: Some("symbol".to_owned()),
            one_of: Some(vec!["BTCUSDT".to_owned(), "ETHUSDT".to_owned()]),
            ..Condition::default()
        };
        let dear = Condition {
            payload: Some("/order/price".to_owned()),
            above: Some(100.0),
            ..Condition::default()
        };
        let rules = vec![
            Rule { when: vec![symbol.clone(), dear], to: vec![name("dear:coins")] },
            Rule { when: vec![symbol], to: vec![name("coins:all")] },
        ];
        let route = route(rules);
        let message = |symbol: &str, price: &str| {
            Message::json(&serde_json::json!({ "order": { "price": price } }))
                .expect("serializes")
                .with("symbol", symbol)
        };
        assert_eq!(route.targets(&message("BTCUSDT", "100.5")), [name("dear:coins")]);
        assert_eq!(route.targets(&message("ETHUSDT", "99")), [name("coins:all")]);
        assert_eq!(route.targets(&message("ESZ5", "5000")), [name("rest:all")]);
        assert_eq!(route.check(), Ok(()));
    }

    #[test]
    fn a_condition_can_be_turned_round_and_must_look_at_one_thing() {
        let not_test = Condition {
            field: Some("type".to_owned()),
            is: Some("test".to_owned()),
            not: true,
            ..Condition::default()
        };
        let real = route(vec![Rule { when: vec![not_test], to: vec![name("real:all")] }]);
        let plain = Message::default().with("data", "x");
        assert_eq!(real.targets(&plain), [name("real:all")]);
        assert_eq!(real.targets(&plain.with_type("test")), [name("rest:all")]);
        let blind = Rule { when: vec![Condition::default()], to: vec![] };
        assert!(route(vec![blind]).check().is_err());
    }
}
