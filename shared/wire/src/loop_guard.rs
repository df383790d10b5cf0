//! Headers that prevent loops: Postrider does not accept its own deliveries as requests.

/// The header with a delivery's id. Every POST to a tenant's endpoint has this header, and no customer can set or remove it.
pub const DELIVERY_HEADER: &str = "postrider-delivery";
/// The header of Postrider's response when it refuses a request that is a delivery. The dispatcher mentions it in the attempt.
pub const REFUSED_HEADER: &str = "postrider-refused";
/// The only value of [`REFUSED_HEADER`].
pub const REFUSED_DELIVERY: &str = "delivery";
