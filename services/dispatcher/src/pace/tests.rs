//! Tests of the pace: tables of cases, and small simulations.

use postrider_model::time::UnixMillis;
use postrider_wire::messages::SlotTerms;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn request(lane: Lane) -> PaceRequest {
    PaceRequest { lane, slot: SlotState::None, interval: None, gave_up_waiting: false, version: 1, batch: None }
}

const DUE: SlotState = SlotState::Due { reason: HeldReason::Rate, foreign: false };

/// Makes a POST that takes `latency` and has the observation `seen`.
fn attempt(pace: &mut Pace, at: Instant, lane: Lane, seen: Observation, latency: Duration) -> Transition {
    match pace.request(at, &request(lane)) {
        PaceAnswer::Send(started) => pace.end(at + latency, started, Some((seen, latency))),
        other => panic!("{other:?}"),
    }
}

fn open(at: Instant) -> Pace {
    let mut pace = Pace::new(at);
    for _ in 0..2 {
        attempt(&mut pace, at, Lane::Slow, Observation::TimedOut, SECOND * 15);
    }
    assert!(pace.health.is_open());
    pace
}

#[test]
fn a_carried_slot_is_none_ahead_due_or_missed() {
    let now = UnixMillis(1_000_000);
    let reason = Some(HeldReason::Rate);
    let of = |slot: i64, since: i64| {
        let (slot_at, held_since) = (Some(UnixMillis(slot)), Some(UnixMillis(since)));
        let carried = HeldSlot { slot_at, terms: None, held_since, reason };
        carried.state(now, UnixMillis(900_000), Some(SECOND))
    };
    let rate = HeldReason::Rate;
    assert_eq!(HeldSlot::default().state(now, now, None), SlotState::None);
    assert_eq!(of(1_000_300, 950_000), SlotState::Ahead { remaining: MS * 300, reason: rate, foreign: false });
    assert_eq!(of(1_000_300, 850_000), SlotState::Ahead { remaining: MS * 300, reason: rate, foreign: true });
    assert_eq!(of(1_000_000, 950_000), SlotState::Due { reason: rate, foreign: false });
    assert_eq!(of(999_000, 950_000), SlotState::Due { reason: rate, foreign: false });
    assert_eq!(of(998_999, 950_000), SlotState::Missed);
    // A message without a reason counts as held for the rate.
    let bare = HeldSlot { slot_at: Some(now), ..HeldSlot::default() };
    assert!(matches!(bare.state(now, now, None), SlotState::Due { reason: HeldReason::Rate, .. }));
}

#[test]
fn a_slot_follows_edits_of_the_rate_and_of_the_clock() {
    let now = UnixMillis(1_000_000);
    let check = |slot_in: i64, left_ms: u64, today: Option<Duration>, expected: Option<Duration>| {
        // The slot was granted at a rate of one slot every four seconds.
        let terms = Some(SlotTerms { left_ms, interval_us: 4_000_000 });
        let reason = Some(HeldReason::Rate);
        let carried = HeldSlot { slot_at: Some(UnixMillis(now.0 + slot_in)), terms, held_since: Some(now), reason };
        let remaining = match carried.state(now, now, today) {
            SlotState::Ahead { remaining, .. } => Some(remaining),
            _ => None,
        };
        assert_eq!(remaining, expected, "{slot_in} {left_ms} {today:?}");
    };
    check(60_000, 60_000, Some(SECOND * 4), Some(SECOND * 60));
    // The rate was raised to 100 a second, halved, and removed.
    check(60_000, 60_000, Some(MS * 10), Some(MS * 150));
    check(60_000, 60_000, Some(SECOND * 8), Some(SECOND * 120));
    check(60_000, 60_000, None, None);
    // The clock was set back by an hour, and forward by an hour.
    check(3_660_000, 60_000, Some(SECOND * 4), Some(SECOND * 60));
    check(-3_540_000, 60_000, Some(SECOND * 4), None);
    // A slot for concurrency has no interval.
    let terms = Some(SlotTerms { left_ms: 700, interval_us: 0 });
    let reason = Some(HeldReason::Concurrency);
    let carried = HeldSlot { slot_at: Some(UnixMillis(now.0 + 3_600_000)), terms, held_since: Some(now), reason };
    assert!(matches!(carried.state(now, now, None), SlotState::Ahead { remaining, .. } if remaining == MS * 700));
}

#[test]
fn an_edit_of_the_rate_takes_effect_soon() {
    assert_eq!(hold_for_rate(SECOND * 3, Some(SECOND)).park_for, SECOND * 3);
    assert_eq!(hold_for_rate(SECOND * 3_600, Some(SECOND * 100)).park_for, SECOND * 5);
    assert_eq!(hold_for_rate(SECOND * 1_000, Some(SECOND)).park_for, SECOND * 100);
    assert_eq!(hold_for_rate(SECOND * 7_200, Some(SECOND)).park_for, HOLD_MAX);
}

#[test]
fn a_new_endpoint_gets_two_at_once_and_the_next_waits_in_memory() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let first = pace.request(now, &request(Lane::Live));
    assert!(matches!(first, PaceAnswer::Send(_)));
    assert!(matches!(pace.request(now, &request(Lane::Live)), PaceAnswer::Send(_)));
    assert_eq!(pace.request(now, &request(Lane::Live)), PaceAnswer::WaitForPermit(()));
    assert_eq!(pace.grant_next(now), None);
    let PaceAnswer::Send(started) = first else { unreachable!() };
    pace.end(now + MS, started, Some((Observation::Answered, MS)));
    assert!(pace.grant_next(now + MS).is_some());
    // The success raised the window's limit by one, but no delivery waits.
    assert_eq!(pace.grant_next(now + MS), None);
    assert!(matches!(pace.request(now + MS, &request(Lane::Live)), PaceAnswer::Send(_)));
}

#[test]
fn a_delivery_that_waited_too_long_goes_to_the_ladder() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    for _ in 0..2 {
        pace.request(now, &request(Lane::Live));
    }
    assert_eq!(pace.request(now, &request(Lane::Live)), PaceAnswer::WaitForPermit(()));
    pace.give_up();
    let verdict = pace.request(now + IN_MEMORY_MAX, &PaceRequest { gave_up_waiting: true, ..request(Lane::Live) });
    let PaceAnswer::Hold(Hold { slot_in, park_for, reason }) = verdict else { panic!("{verdict:?}") };
    assert_eq!(reason, HeldReason::Concurrency);
    assert!(park_for <= slot_in && park_for >= parked::PARK_MIN);
}

#[test]
fn the_line_in_memory_is_bounded_and_shrinks_while_no_post_ends() {
    let waiting_after = |stalled: Duration| {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let started = window_start(&mut pace, now);
        pace.window.cut(now + MS, started);
        while matches!(pace.request(now + MS, &request(Lane::Live)), PaceAnswer::Send(_)) {}
        pace.waiting = 0;
        while pace.request(now + stalled, &request(Lane::Live)) == PaceAnswer::WaitForPermit(()) {}
        pace.waiting
    };
    let lines = [1, 50, 200].map(|ms| waiting_after(MS * ms));
    assert!(lines[0] > lines[1] && lines[1] > lines[2], "{lines:?}");
    assert!(lines[0] <= WAITING_MIN + WAITING_PER_POST * 2, "{lines:?}");
}

fn window_start(pace: &mut Pace, now: Instant) -> InFlight {
    let started = pace.window.start(now);
    pace.window.end(now, started);
    started
}

#[test]
fn a_black_hole_leaves_the_live_lane_within_little_more_than_a_second() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    for _ in 0..2 {
        assert!(matches!(pace.request(now, &request(Lane::Live)), PaceAnswer::Send(_)));
    }
    assert_ne!(pace.request(now + MS * 900, &request(Lane::Live)), PaceAnswer::MoveToSlowLane);
    for lane in [Lane::Live, Lane::Bulk] {
        assert_eq!(pace.request(now + MS * 1_300, &request(lane)), PaceAnswer::MoveToSlowLane);
    }
    assert!(matches!(pace.request(now + MS * 1_300, &request(Lane::Slow)), PaceAnswer::Hold(Hold { .. })));
}

#[test]
fn one_straggler_in_a_wide_window_moves_no_delivery() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let straggler = pace.window.start(now);
    for _ in 0..64 {
        let started = pace.window.start(now);
        pace.end(now + MS, started, Some((Observation::Answered, MS)));
    }
    let later = now + SECOND * 3;
    while pace.window.in_flight() < pace.window.limit() {
        pace.window.start(later);
    }
    assert_eq!(pace.request(later, &request(Lane::Live)), PaceAnswer::WaitForPermit(()));
    pace.end(later, straggler, Some((Observation::TimedOut, SECOND * 3)));
    assert!(!pace.is_slow(later));
}

#[test]
fn an_open_breaker_admits_one_post_at_a_time_in_the_slow_lane() {
    let now = Instant::now();
    let mut pace = open(now);
    let now = now + SECOND * 60;
    assert_eq!(pace.request(now, &request(Lane::Live)), PaceAnswer::MoveToSlowLane);
    assert_eq!(pace.request(now, &request(Lane::Bulk)), PaceAnswer::MoveToSlowLane);
    let PaceAnswer::Send(probe) = pace.request(now, &request(Lane::Slow)) else { panic!("no probe") };
    let second = pace.request(now, &request(Lane::Slow));
    assert!(matches!(second, PaceAnswer::Hold(Hold { reason: HeldReason::Breaker, .. })), "{second:?}");
    let half_open = BreakerState::HalfOpen;
    assert_eq!(pace.end(now + MS * 30, probe, Some((Observation::Answered, MS * 30))), Transition::To(half_open));
    let now = now + MS * 40;
    assert_eq!(pace.request(now, &request(Lane::Live)), PaceAnswer::MoveToSlowLane);
    assert_eq!(attempt(&mut pace, now, Lane::Slow, Observation::Answered, MS * 30), Transition::Confirmed(half_open));
    let closed = Transition::To(BreakerState::Closed);
    assert_eq!(attempt(&mut pace, now, Lane::Slow, Observation::Answered, MS * 30), closed);
    assert!(matches!(pace.request(now + MS * 30, &request(Lane::Live)), PaceAnswer::Send(_)));
}

#[test]
fn one_old_post_to_a_new_endpoint_means_the_slow_lane() {
    let now = Instant::now();
    let mut unknown = Pace::new(now);
    let first = unknown.window.start(now);
    assert!(!unknown.is_slow(now + SECOND / 2));
    assert_eq!(unknown.request(now + SECOND * 2, &request(Lane::Live)), PaceAnswer::MoveToSlowLane);
    unknown.end(now + SECOND * 2, first, Some((Observation::Answered, SECOND / 2)));
    unknown.window.start(now + SECOND * 2);
    assert!(!unknown.is_slow(now + SECOND * 4), "it has answered once, and one straggler is nothing");
}

#[test]
fn a_foreign_breaker_state_counts_unless_an_answer_came_here_since() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    assert!(pace.adopt(now, BreakerState::Open, SECOND));
    assert_eq!(pace.request(now, &request(Lane::Live)), PaceAnswer::MoveToSlowLane);
    assert!(pace.adopt(now, BreakerState::Closed, SECOND));
    attempt(&mut pace, now, Lane::Live, Observation::Answered, MS);
    assert!(!pace.adopt(now + SECOND, BreakerState::Open, SECOND * 2), "it answered here a second ago");
    assert!(!pace.health.is_open());
    assert!(pace.adopt(now + SECOND * 3, BreakerState::Open, SECOND), "it failed there later");
    assert!(pace.health.is_open());
}

#[test]
fn an_endpoint_that_refuses_fast_is_probed_fast() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    for n in 0..200_u32 {
        attempt(&mut pace, now + MS * 2 * n, Lane::Slow, Observation::Unreachable, MS);
    }
    assert!(pace.health.is_open());
}

#[test]
fn a_rate_is_kept_by_waiting_in_memory_or_on_the_ladder() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let limited = PaceRequest { interval: interval(Some(10.0), 1), ..request(Lane::Live) };
    assert!(matches!(pace.request(now, &limited), PaceAnswer::Send(_)));
    assert_eq!(pace.request(now, &limited), PaceAnswer::WaitForSlot(MS * 100, DUE));
    assert_eq!(pace.request(now, &limited), PaceAnswer::WaitForSlot(MS * 200, DUE));
    let held = PaceAnswer::Hold(Hold { slot_in: MS * 300, park_for: MS * 300, reason: HeldReason::Rate });
    assert_eq!(pace.request(now, &limited), held);
    // The granted slot is used without another charge.
    assert!(matches!(pace.request(now + MS * 100, &PaceRequest { slot: DUE, ..limited }), PaceAnswer::Send(_)));
    assert_eq!(pace.gcra.charge(now, MS * 100), MS * 400);
}

#[test]
fn a_future_rate_slot_is_kept_and_never_used_early() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let limited = |remaining| PaceRequest {
        interval: Some(SECOND),
        slot: SlotState::Ahead { remaining, reason: HeldReason::Rate, foreign: false },
        ..request(Lane::Live)
    };
    assert_eq!(pace.request(now, &limited(MS * 250)), PaceAnswer::WaitForSlot(MS * 250, DUE));
    let hold = |slot_in, park_for| PaceAnswer::Hold(Hold { slot_in, park_for, reason: HeldReason::Rate });
    assert_eq!(pace.request(now, &limited(MS * 251)), hold(MS * 251, MS * 251));
    assert_eq!(pace.request(now, &limited(SECOND * 7_200)), hold(SECOND * 7_200, HOLD_MAX));
    assert_eq!(pace.request(now, &limited(SECOND * 30)), hold(SECOND * 30, SECOND * 5));
    assert_eq!(pace.gcra.charge(now, SECOND), Duration::ZERO);
}

#[test]
fn missed_slots_and_slots_of_other_processes_are_charged_again() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let limited = |slot| PaceRequest { interval: Some(SECOND), slot, ..request(Lane::Live) };
    assert!(matches!(pace.request(now, &limited(SlotState::Missed)), PaceAnswer::Send(_)));
    assert!(matches!(
        pace.request(now, &limited(SlotState::Missed)),
        PaceAnswer::Hold(Hold { reason: HeldReason::Rate, .. })
    ));
    let mut pace = Pace::new(now);
    let foreign = SlotState::Due { reason: HeldReason::Rate, foreign: true };
    assert!(matches!(pace.request(now, &limited(foreign)), PaceAnswer::Send(_)));
    assert!(
        matches!(pace.request(now, &limited(SlotState::None)), PaceAnswer::Hold(Hold { slot_in, .. }) if slot_in == SECOND)
    );
}

#[test]
fn a_pause_holds_every_delivery_until_it_ends_or_an_edit() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let first = pace.request(now, &request(Lane::Live));
    let second = pace.request(now, &request(Lane::Live));
    assert_eq!(pace.request(now, &request(Lane::Live)), PaceAnswer::WaitForPermit(()));
    let (PaceAnswer::Send(first), PaceAnswer::Send(second)) = (first, second) else { unreachable!() };
    pace.pause(now, SECOND * 3_600, 1);
    pace.end(now, first, Some((Observation::ErrorStatus, MS)));
    pace.end(now, second, Some((Observation::ErrorStatus, MS)));
    assert_eq!(pace.grant_next(now), None);
    pace.give_up();
    let held = |slot_in, park_for| PaceAnswer::Hold(Hold { slot_in, park_for, reason: HeldReason::Breaker });
    let waited = PaceRequest { gave_up_waiting: true, ..request(Lane::Live) };
    assert_eq!(pace.request(now, &waited), held(SECOND * 3_600, HOLD_MAX));
    assert_eq!(pace.request(now, &PaceRequest { slot: DUE, ..request(Lane::Live) }), held(SECOND * 3_600, HOLD_MAX));
    let end = now + SECOND * 3_600;
    assert_eq!(pace.request(end - MS * 200, &request(Lane::Live)), PaceAnswer::WaitForSlot(MS * 200, SlotState::None));
    assert!(matches!(pace.request(now, &PaceRequest { version: 2, ..request(Lane::Live) }), PaceAnswer::Send(_)));
    assert!(matches!(pace.request(end, &request(Lane::Live)), PaceAnswer::Send(_) | PaceAnswer::WaitForPermit(())));
}

#[test]
fn free_capacity_is_used_before_a_concurrency_slot() {
    let now = Instant::now();
    let ahead = SlotState::Ahead { remaining: SECOND * 90, reason: HeldReason::Breaker, foreign: false };
    let mut pace = Pace::new(now);
    assert!(matches!(pace.request(now, &PaceRequest { slot: ahead, ..request(Lane::Slow) }), PaceAnswer::Send(_)));
    let mut pace = open(now);
    let now = now + SECOND * 20;
    assert!(matches!(pace.request(now, &request(Lane::Slow)), PaceAnswer::Send(_)));
    let verdict = pace.request(now, &PaceRequest { slot: ahead, ..request(Lane::Slow) });
    assert!(matches!(verdict, PaceAnswer::Hold(Hold { slot_in, .. }) if slot_in == SECOND * 90), "{verdict:?}");
}

#[test]
fn parked_deliveries_come_before_new_ones() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    while matches!(pace.request(now, &request(Lane::Live)), PaceAnswer::Send(_)) {}
    pace.give_up();
    for _ in 0..10 {
        pace.parked.park(now, SECOND, 0, parked::RecheckRate::SLOW, 1);
    }
    assert!(matches!(pace.request(now, &request(Lane::Live)), PaceAnswer::Hold(Hold { .. })));
    let due = SlotState::Due { reason: HeldReason::Concurrency, foreign: false };
    assert_eq!(pace.request(now, &PaceRequest { slot: due, ..request(Lane::Live) }), PaceAnswer::WaitForPermit(()));
}

#[test]
fn an_abandoned_post_frees_its_place_and_is_no_observation() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let PaceAnswer::Send(started) = pace.request(now, &request(Lane::Live)) else { panic!() };
    assert_eq!(pace.end(now, started, None), Transition::None);
    assert_eq!((pace.window.in_flight(), pace.window.limit()), (0, 2));
}

#[test]
fn while_this_process_lags_a_backlog_waits_in_memory() {
    let now = Instant::now();
    let line = |lag: Duration| {
        let mut pace = Pace::new(now);
        pace.set_lag(lag);
        let started = window_start(&mut pace, now);
        pace.window.cut(now, started);
        while matches!(pace.request(now, &request(Lane::Live)), PaceAnswer::Send(_)) {}
        while pace.waiting < 10_000 && pace.request(now, &request(Lane::Live)) == PaceAnswer::WaitForPermit(()) {}
        pace.waiting
    };
    assert!((40..=60).contains(&line(MS)), "{}", line(MS));
    // While this process lags, more deliveries may wait in memory than the two `WAITING_` constants otherwise allow.
    assert!(line(MS * 20) > WAITING_MIN + WAITING_PER_POST, "{}", line(MS * 20));
    assert_eq!([in_memory_max(Duration::ZERO), in_memory_max(MS * 3)], [IN_MEMORY_MAX; 2]);
    assert_eq!(in_memory_max(MS * 10), MS * 890);
    assert_eq!(in_memory_max(SECOND), SECOND * 2);
}

/// Simulates deliveries that arrive at an endpoint, in steps of 1 ms. The endpoint has a fixed latency or times out. A held
/// delivery arrives again after its wait.
struct Simulation {
    latency: u64,
    timeout: u64,
    dead: bool,
}

#[derive(Default)]
struct Tally {
    sent: usize,
    held: usize,
    moved: usize,
    longest_in_memory: u64,
}

impl Simulation {
    fn run(&self, per_ms: f64, millis: u64) -> Tally {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut seen = Tally::default();
        let mut line: std::collections::VecDeque<(u64, Lane)> = Default::default();
        let mut flight: Vec<(u64, InFlight)> = Vec::new();
        let mut parked: Vec<(u64, u64, Lane, HeldReason)> = Vec::new();
        let mut owed = 0.0;
        for ms in 0..millis {
            let now = start + Duration::from_millis(ms);
            let (took, end) =
                if self.dead { (self.timeout, Observation::TimedOut) } else { (self.latency, Observation::Answered) };
            let (done, rest): (Vec<_>, Vec<_>) = flight.into_iter().partition(|(at, _)| *at <= ms);
            flight = rest;
            for (_, started) in done {
                pace.end(now, started, Some((end, Duration::from_millis(took))));
            }
            while let Some(started) = pace.grant_next(now) {
                let (since, _) = line.pop_front().unwrap();
                seen.longest_in_memory = seen.longest_in_memory.max(ms - since);
                flight.push((ms + took, started));
                seen.sent += 1;
            }
            let mut asking: Vec<(Lane, SlotState, bool)> = Vec::new();
            while line.front().is_some_and(|(since, _)| ms - since >= 250) {
                let (_, lane) = line.pop_front().unwrap();
                pace.give_up();
                asking.push((lane, SlotState::None, true));
            }
            let (due, rest): (Vec<_>, Vec<_>) = parked.into_iter().partition(|(back, ..)| *back <= ms);
            parked = rest;
            for (_, slot_at, lane, reason) in due {
                let (wall, slot) = (UnixMillis(ms as i64), UnixMillis(slot_at as i64));
                let carried = HeldSlot { slot_at: Some(slot), reason: Some(reason), ..HeldSlot::default() };
                asking.push((lane, carried.state(wall, UnixMillis(0), None), false));
            }
            owed += per_ms;
            while owed >= 1.0 {
                owed -= 1.0;
                asking.push((Lane::Live, SlotState::None, false));
            }
            while let Some((lane, slot, gave_up_waiting)) = asking.pop() {
                match pace
                    .request(now, &PaceRequest { lane, slot, interval: None, gave_up_waiting, version: 1, batch: None })
                {
                    PaceAnswer::Send(started) => {
                        flight.push((ms + took, started));
                        seen.sent += 1;
                    }
                    PaceAnswer::WaitForPermit(()) => line.push_back((ms, lane)),
                    PaceAnswer::Hold(Hold { slot_in, park_for, reason }) => {
                        seen.held += 1;
                        let at = |wait: Duration| ms + wait.as_millis() as u64;
                        parked.push((at(park_for), at(slot_in), lane, reason));
                    }
                    PaceAnswer::MoveToSlowLane => {
                        seen.moved += 1;
                        asking.push((Lane::Slow, SlotState::None, false));
                    }
                    PaceAnswer::WaitForSlot(..) => unreachable!("no rate here"),
                }
            }
        }
        seen
    }
}

#[test]
fn a_healthy_fast_endpoint_at_ten_thousand_a_second_never_leaves_memory() {
    let seen = Simulation { latency: 5, timeout: 15_000, dead: false }.run(10.0, 3_000);
    assert_eq!((seen.held, seen.moved), (0, 0));
    assert!(seen.sent > 29_000, "{}", seen.sent);
    assert!(seen.longest_in_memory <= 50, "{}", seen.longest_in_memory);
}

#[test]
fn a_black_hole_gets_few_posts_and_its_deliveries_wait_on_the_ladder() {
    let seen = Simulation { latency: 0, timeout: 15_000, dead: true }.run(0.1, 45_000);
    assert!(seen.sent <= 8, "{}", seen.sent);
    assert!(seen.moved >= 4_000, "{}", seen.moved);
    // Each of the 4,500 deliveries is held once. After that, the rate of checks is limited.
    assert!(seen.held < 4_500 + 45 * 25, "{}", seen.held);
}

#[test]
fn an_overloaded_endpoint_is_kept_busy_and_the_backlog_waits() {
    // 1,000 deliveries per second arrive for ten seconds. With 128 POSTs in flight that take 200 ms each, 640 per second are
    // sent.
    let seen = Simulation { latency: 200, timeout: 15_000, dead: false }.run(1.0, 10_000);
    assert!(seen.sent > 5_000, "{}", seen.sent);
    assert!(seen.held < 2 * 10_000, "{}", seen.held);
    assert_eq!(seen.moved, 0);
}

fn batch(new_members: u32, interval: Option<Duration>) -> PaceRequest {
    PaceRequest { interval, batch: Some(BatchSize { new_members, members_max: 100 }), ..request(Lane::Live) }
}

#[test]
fn a_batch_that_waits_for_the_rate_uses_up_no_slot() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let request = batch(100, Some(SECOND * 10));
    let PaceAnswer::Send(post) = pace.request(now, &request) else { panic!("the first slot is free") };
    pace.end(now, post, Some((Observation::Answered, MS)));
    let held: Vec<u128> = (0..3)
        .map(|_| match pace.request(now, &request) {
            PaceAnswer::Hold(Hold { slot_in, reason: HeldReason::Concurrency, .. }) => slot_in.as_millis(),
            other => panic!("{other:?}"),
        })
        .collect();
    // The next slot is in 10 s; each slot takes 100 members.
    assert_eq!(held, [10_000, 10_100, 20_100]);
    assert!(matches!(pace.request(now + SECOND * 10, &request), PaceAnswer::Send(_)));
    assert!(matches!(pace.request(now + SECOND * 10, &request), PaceAnswer::Hold(_)));
}

#[test]
fn a_batch_waits_in_memory_for_a_slot_that_is_near() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let request = batch(1, Some(MS * 200));
    assert!(matches!(pace.request(now, &request), PaceAnswer::Send(_)));
    let PaceAnswer::WaitForSlot(wait, slot) = pace.request(now, &request) else { panic!("it is near") };
    assert_eq!(wait, MS * 200);
    assert!(matches!(pace.request(now + wait, &PaceRequest { slot, ..request }), PaceAnswer::Send(_)));
}

#[test]
fn a_delivery_joins_a_batch_unless_others_wait_on_the_ladder_before_it() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let request = batch(1, Some(SECOND * 10));
    assert_eq!(pace.admit(now, &request), None);
    let PaceAnswer::Send(post) = pace.request(now, &request) else { panic!("the first slot is free") };
    pace.end(now, post, Some((Observation::Answered, MS)));
    assert_eq!(pace.admit(now, &request), None, "nothing is parked, so it gathers while it waits");
    pace.park(now, &request);
    assert!(matches!(pace.admit(now, &request), Some(Elsewhere::Ladder(_))), "behind the parked one");
    let slot = SlotState::Ahead { remaining: SECOND * 7, reason: HeldReason::Concurrency, foreign: false };
    let returned = PaceRequest { slot, ..request };
    let Some(Elsewhere::Ladder(hold)) = pace.admit(now, &returned) else { panic!("its slot is ahead") };
    assert_eq!(hold.slot_in, SECOND * 7);
    assert_eq!(pace.admit(now + SECOND * 10, &returned), None, "free capacity needs no slot");
    let mut slow = open(now);
    assert_eq!(slow.admit(now, &request), Some(Elsewhere::SlowLane));
}
