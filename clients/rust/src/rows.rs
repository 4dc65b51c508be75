//! Rows of the columns in which turns, outlines and tool usage travel.

use std::time::{Duration, SystemTime};

use crate::error::{Code, Error};
use crate::v1::{ErrorReason, ItemMetadataColumns, ToolUsageColumns, TurnColumns};

const NONE: i32 = -1;

/// A turn by its user item; see [`TurnColumns::into_rows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnRow {
    /// Its number on its branch.
    pub turn: i64,
    /// The branch it was read from.
    pub branch_id: String,
    /// The JSON text of its user item.
    pub user_item: Vec<u8>,
    /// When its user item was written to the branch, to the second.
    pub create_time: SystemTime,
}

/// What the server derived from an item; see [`ItemMetadataColumns::into_rows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemMetadataRow {
    /// `user` or `assistant` for messages of these roles, else the item's own `type`, else `other`.
    pub r#type: String,
    /// The tool that the item calls or answers, if it does.
    pub tool_name: Option<String>,
    /// Its turn; 0 before the first user item.
    pub turn: i64,
    /// When it was written to the branch, to the second.
    pub create_time: SystemTime,
}

/// How often a tool was called in a turn; see [`ToolUsageColumns::into_rows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolUsageRow {
    /// The tool; `None` for calls that name none.
    pub tool_name: Option<String>,
    /// The number of calls.
    pub call_count: i64,
    /// The turn.
    pub turn: i64,
}

impl TurnColumns {
    /// The turns of a page, row by row.
    ///
    /// # Errors
    ///
    /// `Internal` with [`ErrorReason::Internal`] when the columns do not agree.
    pub fn into_rows(self) -> Result<Vec<TurnRow>, Error> {
        let count = self.turns.len();
        let branch_ids = match self.branch_ids.as_slice() {
            [for_all] => vec![for_all.clone(); count],
            _ => self.branch_ids,
        };
        agree(count, "branch_ids", branch_ids.len())?;
        agree(count, "user_items", self.user_items.len())?;
        agree(count, "create_times", self.create_times.len())?;
        let columns = self.turns.into_iter().zip(branch_ids).zip(self.user_items).zip(self.create_times);
        let row = |(((turn, branch_id), user_item), seconds)| {
            Ok(TurnRow { turn, branch_id, user_item, create_time: time(seconds)? })
        };
        columns.map(row).collect()
    }
}

impl ItemMetadataColumns {
    /// The items of a page, row by row.
    ///
    /// # Errors
    ///
    /// `Internal` with [`ErrorReason::Internal`] when the columns do not agree.
    pub fn into_rows(self) -> Result<Vec<ItemMetadataRow>, Error> {
        let count = self.turns.len();
        agree(count, "type_indexes", self.type_indexes.len())?;
        agree(count, "tool_indexes", self.tool_indexes.len())?;
        agree(count, "create_times", self.create_times.len())?;
        let columns = self.turns.into_iter().zip(self.type_indexes).zip(self.tool_indexes).zip(self.create_times);
        let row = |(((turn, type_index), tool_index), seconds)| {
            Ok(ItemMetadataRow {
                r#type: name("types", &self.types, type_index)?,
                tool_name: tool(&self.tool_names, tool_index)?,
                turn,
                create_time: time(seconds)?,
            })
        };
        columns.map(row).collect()
    }
}

impl ToolUsageColumns {
    /// The counts of a page, row by row.
    ///
    /// # Errors
    ///
    /// `Internal` with [`ErrorReason::Internal`] when the columns do not agree.
    pub fn into_rows(self) -> Result<Vec<ToolUsageRow>, Error> {
        let count = self.turns.len();
        agree(count, "tool_indexes", self.tool_indexes.len())?;
        agree(count, "call_counts", self.call_counts.len())?;
        let columns = self.turns.into_iter().zip(self.tool_indexes).zip(self.call_counts);
        let row = |((turn, tool_index), call_count)| {
            Ok(ToolUsageRow { tool_name: tool(&self.tool_names, tool_index)?, call_count, turn })
        };
        columns.map(row).collect()
    }
}

/// Fails when a column has not one value for each of the turns.
fn agree(count: usize, column: &str, length: usize) -> Result<(), Error> {
    if length == count {
        return Ok(());
    }
    Err(malformed(&format!("turns has {count} values and {column} has {length}")))
}

fn name(column: &str, names: &[String], index: i32) -> Result<String, Error> {
    let name = usize::try_from(index).ok().and_then(|position| names.get(position));
    name.cloned().ok_or_else(|| malformed(&format!("{column} has {} values and none at {index}", names.len())))
}

fn tool(names: &[String], index: i32) -> Result<Option<String>, Error> {
    if index == NONE { Ok(None) } else { name("tool_names", names, index).map(Some) }
}

fn time(seconds: i64) -> Result<SystemTime, Error> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if seconds < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
    time.ok_or_else(|| malformed(&format!("create_times has {seconds}, which is no time")))
}

fn malformed(why: &str) -> Error {
    Error::new(Code::Internal, ErrorReason::Internal, format!("the columns do not agree: {why}"), [])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns() -> TurnColumns {
        TurnColumns {
            turns: vec![1, i64::MAX],
            branch_ids: vec!["b".to_owned()],
            user_items: vec![b"{}".to_vec(), b"[]".to_vec()],
            create_times: vec![-1, 1_709_208_001],
        }
    }

    fn items() -> ItemMetadataColumns {
        ItemMetadataColumns {
            types: vec!["user".to_owned()],
            type_indexes: vec![0, 0],
            tool_names: vec!["tool".to_owned()],
            tool_indexes: vec![0, -1],
            turns: vec![0, i64::MAX],
            create_times: vec![0, 0],
        }
    }

    fn tools() -> ToolUsageColumns {
        ToolUsageColumns {
            tool_names: vec!["tool".to_owned()],
            tool_indexes: vec![-1, 0],
            call_counts: vec![i64::MAX, 2],
            turns: vec![1, 1],
        }
    }

    /// Each change of columns that agree must make an error of them.
    macro_rules! malformed {
        ($whole:ident as $columns:ident: $($change:expr;)+) => {$(
            let mut $columns = $whole();
            assert_eq!($columns.clone().into_rows().unwrap().len(), 2);
            $change;
            let error = $columns.into_rows().expect_err(stringify!($change));
            assert_eq!((error.code(), error.reason()), (Code::Internal, ErrorReason::Internal));
        )+};
    }

    /// Numbers are of 64 bits, times are seconds since 1970 in UTC, and one branch id stands for all.
    #[test]
    fn values() {
        let [first, second] = turns().into_rows().unwrap().try_into().unwrap();
        assert_eq!((first.turn, first.branch_id.as_str(), first.user_item.as_slice()), (1, "b", &b"{}"[..]));
        assert_eq!((second.turn, second.branch_id.as_str(), second.user_item.as_slice()), (i64::MAX, "b", &b"[]"[..]));
        assert_eq!(first.create_time, SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(second.create_time, SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_208_001));
        let [first, second] = items().into_rows().unwrap().try_into().unwrap();
        assert_eq!((first.r#type.as_str(), first.tool_name.as_deref(), first.turn), ("user", Some("tool"), 0));
        assert_eq!((second.r#type.as_str(), second.tool_name, second.turn), ("user", None, i64::MAX));
        let expected = [
            ToolUsageRow { tool_name: None, call_count: i64::MAX, turn: 1 },
            ToolUsageRow { tool_name: Some("tool".to_owned()), call_count: 2, turn: 1 },
        ];
        assert_eq!(tools().into_rows().unwrap(), expected);
    }

    /// No columns are no rows.
    #[test]
    fn nothing() {
        assert_eq!(TurnColumns::default().into_rows(), Ok(vec![]));
        assert_eq!(ItemMetadataColumns::default().into_rows(), Ok(vec![]));
        assert_eq!(ToolUsageColumns::default().into_rows(), Ok(vec![]));
    }

    /// Columns that do not agree are a typed error: too short or too long, and positions of names that there are not.
    #[test]
    fn columns_that_do_not_agree() {
        malformed! { turns as columns:
            columns.turns.clear();
            columns.branch_ids.clear();
            columns.branch_ids = vec!["b".to_owned(); 3];
            columns.user_items.clear();
            columns.user_items.push(Vec::new());
            columns.create_times.clear();
            columns.create_times.push(0);
        }
        malformed! { items as columns:
            columns.turns.clear();
            columns.types.clear();
            columns.type_indexes.clear();
            columns.type_indexes[0] = -1;
            columns.tool_indexes.push(0);
            columns.tool_indexes[0] = 1;
            columns.tool_indexes[0] = -2;
            columns.create_times.push(0);
        }
        malformed! { tools as columns:
            columns.turns.clear();
            columns.tool_names.clear();
            columns.tool_indexes.clear();
            columns.tool_indexes[1] = 1;
            columns.tool_indexes[1] = -2;
            columns.call_counts.push(1);
        }
    }
}
