//! Shared by the scenarios: a running deployment, a tenant's view of it, receivers, and checks by independent code.

mod cluster;
mod collector;
mod deployment;
mod exchange;
mod fault;
pub(crate) mod independent;
pub(crate) mod instant;
mod ledger;
mod load;
pub(crate) mod ordered_receiver;
mod receiver;
mod stage;
mod tenant;

pub(crate) use cluster::{Cluster, PROCESSES, Publisher, Urls};
pub(crate) use collector::{Collector, Span};
pub(crate) use deployment::{Deployment, InForce, OPERATOR_KEY, binary};
pub(crate) use exchange::{Message, Producer};
pub(crate) use fault::FaultLine;
pub(crate) use ledger::Ledger;
pub(crate) use load::{Expected, Load, PATIENCE, Run, survive};
pub(crate) use receiver::{Answer, Received, Receiver};
pub(crate) use stage::Stage;
pub(crate) use tenant::Tenant;
