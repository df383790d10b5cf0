//! What scenarios share: a running deployment, a tenant's view of it, receivers, and checks by code that is not ours.

mod deployment;
pub(crate) mod independent;
pub(crate) mod instant;
mod receiver;
mod tenant;

pub(crate) use deployment::Deployment;
pub(crate) use receiver::{Answer, Received, Receiver};
pub(crate) use tenant::Tenant;
