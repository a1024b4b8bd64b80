//! Messages that wait for an operator, in every service. The edge's own are in its database; the others' are asked for.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_graphql::{Context, ID, InputObject, Json, Object, SimpleObject};
use chrono::{DateTime, Utc};
use contracts::parked::{ParkedMessage, ParkedPage, SettleParked, SettledOutcome, SettledParked};
use mailbox::{
    Fault,
    parked::{
        list::{self, Filter},
        settle::{self, Action, Answer},
    },
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    authorization::{Requires, auth},
    failure::Failure,
    ids,
    mutation::{not_an_id, signed_in, unreachable_or_broken},
    paging::{self, Page},
    payload::{DeadLettersPayload, user_errors},
    purchase::PurchaseObject,
    reader::Reader,
};
use crate::{
    SERVICE,
    app::App,
    auth::{Role, Viewer},
    domain::{Refusal, pricing::MAX_NOTE_CHARACTERS, words::UserErrorCode},
};

/// Messages in one change at most.
const MAX_SETTLED: usize = 50;

/// Which messages are asked for.
#[derive(Debug, Default, InputObject)]
pub(crate) struct DeadLetterFilter {
    service: Option<String>,
    source_topic: Option<String>,
    error_class: Option<String>,
    /// True for those that were handled again; otherwise those that wait.
    replayed: Option<bool>,
}

/// Which messages, and why.
#[derive(Debug, InputObject)]
pub(crate) struct DeadLettersInput {
    idempotency_key: Uuid,
    /// Between 1 and 50.
    ids: Vec<ID>,
    /// Kept with each of them.
    reason: String,
}

/// A message that waits for an operator, or did.
#[derive(Debug)]
pub(crate) struct DeadLetterObject(Box<ParkedMessage>);

/// A message that waits for an operator, or did.
#[Object(name = "DeadLetter")]
impl DeadLetterObject {
    /// Opaque.
    pub(crate) async fn id(&self) -> ID {
        ids::dead_letter(&self.0.service, self.0.id)
    }

    async fn source_topic(&self) -> &str {
        &self.0.topic
    }

    /// The service that could not handle it, or whose message the broker would not take.
    async fn service(&self) -> &str {
        &self.0.service
    }

    async fn error_class(&self) -> &str {
        &self.0.error_class
    }

    async fn error_message(&self) -> &str {
        &self.0.error
    }

    /// How often it was tried.
    async fn attempts(&self) -> i32 {
        self.0.attempts
    }

    /// Whether it merely waits for an earlier message of its key.
    async fn waits_behind(&self) -> bool {
        self.0.cause == "behind"
    }

    /// Whether it is to be handled again and has not been yet.
    async fn replaying(&self) -> bool {
        self.0.replaying
    }

    /// The purchase that it is about; null when it is about none.
    async fn purchase(&self, ctx: &Context<'_>) -> Result<Option<PurchaseObject>, Failure> {
        let Some(id) = self.0.key.as_ref().and_then(|key| key.parse().ok()) else {
            return Ok(None);
        };
        let found = ctx.data_unchecked::<Arc<Reader>>().purchase(id).await?;
        Ok(found.map(PurchaseObject))
    }

    async fn replayed_at(&self) -> Option<DateTime<Utc>> {
        self.resolved_as("replayed")
    }

    async fn discarded_at(&self) -> Option<DateTime<Utc>> {
        self.resolved_as("discarded")
    }

    async fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.parked_at).unwrap_or_default()
    }

    /// The message; null when its bytes cannot be read.
    #[graphql(guard = "Requires(Role::Admin)", directive = auth::apply(Role::Admin))]
    async fn payload(&self, ctx: &Context<'_>) -> Result<Option<Json<Value>>, Failure> {
        let app = ctx.data_unchecked::<Arc<App>>();
        let shown = message(app, &self.0.service, self.0.id).await?;
        Ok(shown.and_then(|shown| shown.content?.message).map(Json))
    }
}

impl DeadLetterObject {
    fn resolved_as(&self, resolution: &str) -> Option<DateTime<Utc>> {
        let at = self
            .0
            .resolved_at
            .filter(|_| self.0.resolution.as_deref() == Some(resolution))?;
        DateTime::from_timestamp_micros(at)
    }
}

/// How far each service's messages were read: the cursor. A service that is not named begins with its newest.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(BTreeMap<String, i64>);

impl Places {
    /// Reads a cursor as [`Places::write`] makes it.
    pub fn read(text: &str) -> Option<Self> {
        let place = |part: &str| {
            let (service, seq) = part.split_once(':')?;
            Some((service.to_owned(), seq.parse().ok()?))
        };
        text.split(',').map(place).collect::<Option<_>>().map(Self)
    }

    fn write(&self) -> String {
        let parts = self.0.iter().map(|(service, seq)| format!("{service}:{seq}"));
        parts.collect::<Vec<_>>().join(",")
    }
}

/// A page of parked messages.
pub(super) type DeadLetterPage = Page<DeadLetterObject, Silent>;

/// Who did not answer.
#[derive(Debug, SimpleObject)]
pub(crate) struct Silent {
    /// Services that did not answer: their messages are missing here, and come with a later page once they do.
    unavailable: Vec<String>,
}

/// A page over all services: each one's newest, merged by the time of parking.
pub(super) async fn page(
    ctx: &Context<'_>,
    size: i64,
    after: Option<Places>,
    filter: DeadLetterFilter,
) -> Result<DeadLetterPage, Failure> {
    let app = ctx.data_unchecked::<Arc<App>>();
    let begins = after.is_none();
    let mut places = after.unwrap_or_default();
    let wanted = |name: &&str| filter.service.as_deref().is_none_or(|only| only == *name);
    let services: Vec<&str> = app.clients.parking().chain([SERVICE]).filter(wanted).collect();
    let asked = services.iter().map(|service| {
        let filter = Filter {
            topic: filter.source_topic.clone(),
            error_class: filter.error_class.clone(),
            resolution: (filter.replayed == Some(true)).then(|| "replayed".to_owned()),
            before: places.0.get(*service).copied(),
            limit: Some(size + 1),
            ..Filter::default()
        };
        of(app, service, filter)
    });
    let mut lists = Vec::with_capacity(services.len());
    let (mut missing, mut failure) = (Vec::new(), None);
    for (service, list) in services.iter().zip(futures::future::join_all(asked).await) {
        match list {
            Ok(list) => lists.push(list.parked.into_iter().peekable()),
            Err(failed) => {
                missing.push((*service).to_owned());
                failure = Some(failed);
            }
        }
    }
    if let Some(failure) = failure {
        if lists.is_empty() {
            return Err(failure);
        }
        // Told and noted at once: what others have is no less true for it.
        if let Failure::Internal(error) = &failure {
            tracing::error!("parked messages of {missing:?} could not be read: {error:#}");
        }
    }
    let mut merged = Vec::new();
    while i64::try_from(merged.len()).unwrap_or(i64::MAX) <= size {
        let newest = lists
            .iter_mut()
            .filter_map(|list| Some((list.peek()?.parked_at, list)))
            .max_by_key(|(at, _)| *at);
        let Some(next) = newest.and_then(|(_, list)| list.next()) else {
            break;
        };
        places.0.insert(next.service.clone(), next.seq);
        merged.push((places.write(), next));
    }
    let silent = Silent { unavailable: missing };
    Ok(paging::page_with(
        silent,
        merged,
        size,
        begins,
        |(place, message)| (place, DeadLetterObject(Box::new(message))),
    ))
}

async fn of(app: &App, service: &str, filter: Filter) -> Result<ParkedPage, Failure> {
    if service == SERVICE {
        return list::list(&app.pool, SERVICE, &filter).await.map_err(own);
    }
    let mut query: Vec<(&str, String)> = Vec::new();
    query.extend(filter.topic.map(|it| ("topic", it)));
    query.extend(filter.error_class.map(|it| ("error_class", it)));
    query.extend(filter.resolution.map(|it| ("resolution", it)));
    query.extend(filter.before.map(|it| ("before", it.to_string())));
    query.extend(filter.limit.map(|it| ("limit", it.to_string())));
    Ok(app.clients.parked(service, &query).await?)
}

/// Between two looks of a subscription. Parked messages wait for people: a moment more is nothing to them.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// Messages of a service that one look reads; also those of the beginning. More at once than that are an incident, which the list
/// shows in full.
const LOOKED_AT: i64 = 100;
/// Messages of a service that a subscription remembers.
const REMEMBERED: usize = 1_000;

/// Messages as they are parked, in all services.
pub(super) struct Added {
    app: Arc<App>,
    /// By service: what was sent.
    sent: BTreeMap<&'static str, Sent>,
    queue: VecDeque<ParkedMessage>,
    looked: bool,
}

#[derive(Debug, Default)]
struct Sent {
    places: BTreeSet<i64>,
    /// What is not above was sent, or is too old.
    floor: i64,
}

impl Added {
    /// Nothing is read before the first [`Added::next`].
    pub fn new(app: Arc<App>) -> Self {
        Self {
            app,
            sent: BTreeMap::new(),
            queue: VecDeque::new(),
            looked: false,
        }
    }

    /// The next one. A service that does not answer is asked again, and has lost nothing by it.
    pub async fn next(&mut self) -> DeadLetterObject {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return DeadLetterObject(Box::new(message));
            }
            if self.looked {
                tokio::time::sleep(LOOK_AFTER).await;
            }
            self.looked = true;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let services: Vec<&'static str> = self.app.clients.parking().chain([SERVICE]).collect();
        let asked = services.iter().map(|service| {
            let filter = Filter {
                limit: Some(LOOKED_AT),
                ..Filter::default()
            };
            of(&self.app, service, filter)
        });
        let mut fresh = Vec::new();
        for (service, list) in services.iter().zip(futures::future::join_all(asked).await) {
            let Ok(list) = list else { continue };
            let sent = self.sent.entry(*service).or_default();
            for message in list.parked {
                if message.seq > sent.floor && sent.places.insert(message.seq) {
                    fresh.push(message);
                }
            }
            while sent.places.len() > REMEMBERED {
                sent.floor = sent.places.pop_first().unwrap_or(sent.floor);
            }
        }
        fresh.sort_by_key(|message| message.parked_at);
        self.queue.extend(fresh);
    }
}

/// One message, for operators; none for everybody else, and when there is no such message.
pub(super) async fn one(
    ctx: &Context<'_>,
    service: &str,
    id: Uuid,
) -> Result<Option<DeadLetterObject>, Failure> {
    if !ctx.data_unchecked::<Viewer>().is_operator() {
        return Ok(None);
    }
    let found = message(ctx.data_unchecked::<Arc<App>>(), service, id).await?;
    Ok(found.map(Box::new).map(DeadLetterObject))
}

async fn message(app: &App, service: &str, id: Uuid) -> Result<Option<ParkedMessage>, Failure> {
    if service == SERVICE {
        return list::show(&app.pool, &app.codec, SERVICE, id).await.map_err(own);
    }
    Ok(app.clients.parked_message(service, id).await?)
}

/// Settles messages in the services that have them. Each service does so once for the key, so a change that some of them did
/// not answer is sent again as it is.
pub(super) async fn settle(
    ctx: &Context<'_>,
    action: Action,
    input: DeadLettersInput,
) -> Result<DeadLettersPayload, Failure> {
    let refused = |refusal: Refusal| DeadLettersPayload {
        dead_letters: Vec::new(),
        user_errors: user_errors(vec![refusal]),
    };
    if input.ids.is_empty() || input.ids.len() > MAX_SETTLED {
        let message = format!("Name between 1 and {MAX_SETTLED} messages.");
        return Ok(refused(Refusal::new(UserErrorCode::Invalid, message).at(["ids"])));
    }
    if input.reason.trim().is_empty() || input.reason.chars().count() > MAX_NOTE_CHARACTERS {
        let message = format!("Say why, in at most {MAX_NOTE_CHARACTERS} characters.");
        return Ok(refused(
            Refusal::new(UserErrorCode::Invalid, message).at(["reason"]),
        ));
    }
    let mut wanted: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    for id in &input.ids {
        let Some((service, id)) = ids::as_dead_letter(id) else {
            return Ok(refused(not_an_id("parked message", "ids")));
        };
        wanted.entry(service).or_default().push(id);
    }
    let app = ctx.data_unchecked::<Arc<App>>();
    let mut dead_letters = Vec::with_capacity(input.ids.len());
    let mut refusals = Vec::new();
    for (service, ids) in wanted {
        let request = SettleParked {
            idempotency_key: input.idempotency_key,
            ids,
            actor: signed_in(ctx)?.subject.0.clone(),
            reason: input.reason.clone(),
        };
        let settled = match settle_in(app, &service, action, &request).await? {
            Ok(settled) => settled.settled,
            Err(mut more) => {
                refusals.append(&mut more);
                continue;
            }
        };
        for id in request.ids {
            let is_known = |outcome: &SettledOutcome| *outcome != SettledOutcome::Unknown;
            let known = settled.iter().any(|one| one.id == id && is_known(&one.outcome));
            match message(app, &service, id).await? {
                Some(message) if known => dead_letters.push(DeadLetterObject(Box::new(message))),
                Some(_) | None => {
                    refusals
                        .push(Refusal::new(UserErrorCode::NotFound, "There is no such message.").at(["ids"]));
                }
            }
        }
    }
    Ok(DeadLettersPayload {
        dead_letters,
        user_errors: user_errors(refusals),
    })
}

async fn settle_in(
    app: &App,
    service: &str,
    action: Action,
    request: &SettleParked,
) -> Result<Result<SettledParked, Vec<Refusal>>, Failure> {
    if service != SERVICE {
        return match app.clients.settle_parked(service, action.as_str(), request).await {
            Ok(answer) => Ok(answer),
            Err(error) => unreachable_or_broken(error).map(|refusal| Err(vec![refusal])),
        };
    }
    let invalid = |code, message: &str| Ok(Err(vec![Refusal::new(code, message)]));
    match settle::settle(&app.pool, &app.outbox, action, request)
        .await
        .map_err(own)?
    {
        Answer::Done(done) => Ok(Ok(done)),
        Answer::Malformed(why) => invalid(UserErrorCode::Invalid, why),
        Answer::KeyReused => invalid(
            UserErrorCode::IdempotencyKeyReused,
            "This idempotency key was used for another request. Draw a new one for a new request.",
        ),
    }
}

/// A fault of the edge's own database.
fn own(fault: Fault) -> Failure {
    if fault.is_transient() {
        tracing::warn!("parked messages could not be read: {fault}");
        return Failure::Unavailable("The edge's database");
    }
    Failure::Internal(fault.into())
}
