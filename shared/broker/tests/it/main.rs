//! Tests with a real RabbitMQ. `POSTRIDER_TEST_AMQP_URL` (without a virtual host) and `POSTRIDER_TEST_AMQP_API` are its
//! addresses.

mod consuming;
mod delays;
mod hints;
mod producer_messages;
mod publishing;
mod rpc;
mod support;
mod topology;
