//! Operators: each looks at the dead letters and sends some of them back to their group.

use silvertine_engine::pos::Pos;
use silvertine_streams::{
    Amendment, DeadChange, DeadLetter, DeadState, Message, Publication, Status, StoreError, Streams,
};

use super::{
    fault::Fault,
    network::Network,
    op::{Answer, Client, Request},
    plan::{audit_stream, work_stream},
    stage::Stage,
};

/// Dead letters that a run sends back at most.
const REDRIVES_MAX: u32 = 20;
/// How often an operator looks again when it does not know what became of its request.
const ATTEMPTS_MAX: u32 = 4;

struct Operator {
    /// Decides which letters it sends back.
    draw: u64,
    attempts: u32,
    /// A colleague sends the same letters back at the same time.
    contended: bool,
}

#[derive(Default)]
pub(super) struct Operators {
    all: Vec<Operator>,
    redrives: u32,
}

impl Operators {
    /// Another operator begins.
    pub(super) fn begin<S: Streams>(
        &mut self,
        draw: u64,
        contended: bool,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) {
        let client = self.add(Operator { draw, attempts: 0, contended });
        look_at_letters(client, network, stage);
    }

    fn add(&mut self, operator: Operator) -> Client {
        self.all.push(operator);
        Client::Operator((self.all.len() - 1) as u32)
    }

    /// The store has answered an operator, or has not.
    pub(super) fn answered<S: Streams>(
        &mut self,
        operator: usize,
        request: Request,
        result: Result<Answer, StoreError>,
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) {
        let client = Client::Operator(operator as u32);
        match (request, result) {
            (_, Ok(Answer::Letters(letters))) => {
                self.redrive(operator, &letters, network, stage);
            }
            (_, Ok(Answer::Amended(amended))) => {
                for amended in amended {
                    let fault = if amended { Fault::Redrive } else { Fault::Contended };
                    stage.strike(client, fault);
                }
            }
            // It looks before it does anything again.
            _ => {
                let one = &mut self.all[operator];
                one.attempts += 1;
                if one.attempts < ATTEMPTS_MAX {
                    look_at_letters(client, network, stage);
                }
            }
        }
    }

    /// Sends one to three letters back that nobody has looked at.
    fn redrive<S: Streams>(
        &mut self,
        operator: usize,
        letters: &[(Pos, DeadLetter)],
        network: &mut Network<'_, S>,
        stage: &mut Stage<'_>,
    ) {
        let fresh: Vec<_> =
            letters.iter().filter(|(_, letter)| letter.state == DeadState::default()).collect();
        if fresh.is_empty() || self.redrives >= REDRIVES_MAX {
            return;
        }
        let draw = self.all[operator].draw;
        let first = (draw % fresh.len() as u64) as usize;
        let wanted = 1 + (draw >> 32) as usize % 3;
        let mut amendments = Vec::new();
        for (id, letter) in fresh.into_iter().skip(first).take(wanted) {
            let sent = DeadState {
                status: Status::Redriven,
                redrives: letter.state.redrives + 1,
                note: format!("operator {operator}"),
            };
            let publication =
                Publication::new(letter.redrive_stream(&work_stream()), letter.redrive());
            let change = DeadChange::Send(sent, publication);
            amendments.push(Amendment { id: *id, expected: letter.state.clone(), change });
        }
        self.redrives += amendments.len() as u32;
        let told = Message::default().with("data", format!("operator {operator}"));
        let audit = vec![Publication::new(audit_stream(), told)];
        let request = Request::Amend { stream: work_stream(), amendments, audit };
        network.send(Client::Operator(operator as u32), request.clone(), stage);
        if std::mem::take(&mut self.all[operator].contended) {
            // A colleague who saw the same page, and asks only once.
            let attempts = ATTEMPTS_MAX - 1;
            let colleague = self.add(Operator { draw, attempts, contended: false });
            network.send(colleague, request, stage);
        }
    }
}

fn look_at_letters<S: Streams>(
    client: Client,
    network: &mut Network<'_, S>,
    stage: &mut Stage<'_>,
) {
    let request = Request::Letters { stream: work_stream(), after: Pos::ZERO };
    network.send(client, request, stage);
}
