//! What the store does while the row lock is switched off to see that somebody notices (docs/reliability.md, "Guards").
//!
//! Three guards keep two decisions on one state apart: the row lock, the compare-and-set on the version, and the log's key.
//! Each would do by itself, so all three are switched off at once. A release has none of this.

use mailbox::Fault;
use sqlx::PgConnection;
use uuid::Uuid;

use super::lock_rows;

/// Against the compare-and-set: as if whoever writes now had read just now, and nobody comes in between.
///
/// # Errors
/// The database's faults.
pub async fn forget_what_was_read(
    connection: &mut PgConnection,
    ids: &[Uuid],
    versions: &mut [i32],
) -> Result<(), Fault> {
    let now = lock_rows(connection, ids).await?;
    for (id, version) in ids.iter().zip(versions) {
        *version = now
            .iter()
            .find(|record| record.id.0 == *id)
            .map_or(*version, |record| record.version);
    }
    Ok(())
}

/// Against the log's key: entries are numbered from the last one that is there, whatever was decided on.
///
/// # Errors
/// The database's faults.
pub async fn number_anew(
    connection: &mut PgConnection,
    sagas: &[Uuid],
    seqs: &mut [i32],
) -> Result<(), Fault> {
    let ends = sqlx::query!(
        r#"select saga_id, max(seq) as "seq!" from saga_event where saga_id = any($1) group by saga_id"#,
        sagas
    )
    .fetch_all(connection)
    .await?;
    let mut next: std::collections::HashMap<Uuid, i32> =
        ends.into_iter().map(|end| (end.saga_id, end.seq)).collect();
    for (saga, seq) in sagas.iter().zip(seqs) {
        let last = next.entry(*saga).or_default();
        *last += 1;
        *seq = *last;
    }
    Ok(())
}
