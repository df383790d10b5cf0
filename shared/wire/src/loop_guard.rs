//! The headers that keep a delivery from becoming an event: Postrider refuses requests that are deliveries of its own.

/// Names the delivery that a request is. Every POST to an endpoint of a tenant's carries it, and no customer can set or remove it.
pub const DELIVERY_HEADER: &str = "postrider-delivery";
/// In the answer to a request that was refused because it is a delivery: the dispatcher says so in the attempt.
pub const REFUSED_HEADER: &str = "postrider-refused";
/// The one value of [`REFUSED_HEADER`].
pub const REFUSED_DELIVERY: &str = "delivery";
