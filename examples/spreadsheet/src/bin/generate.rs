//! Write the case study's reports, the same bytes every time: `generate-reports DIR`.
//!
//! `sales.csv` and `headcount.csv` hold no personal data; `employees.csv` holds names, numbers that satisfy the
//! rules of US social security numbers, and card numbers with a valid check digit. All of it is made up.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

const REGIONS: [&str; 5] = ["Central", "East", "North", "South", "West"];
const PRODUCTS: [&str; 6] = ["Anvils", "Bearings", "Cables", "Drills", "Engines", "Flanges"];
const DEPARTMENTS: [&str; 5] = ["Engineering", "Finance", "Marketing", "Operations", "Sales"];
const SITES: [&str; 4] = ["Berlin", "Lisbon", "Oslo", "Toronto"];
const FIRST: [&str; 12] =
    ["Ada", "Bruno", "Chiara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Katya", "Luis"];
const LAST: [&str; 12] = [
    "Almeida",
    "Bergström",
    "Castro",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Haddad",
    "Ivanova",
    "Jensen",
    "Kowalski",
    "Lindqvist",
];

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: generate-reports DIR");
        return ExitCode::from(2);
    };
    match write_all(Path::new(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("generate-reports: {e}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(dir)?;
    let mut dice = Dice(0x5eed_c0de);
    let mut sales = csv::Writer::from_path(dir.join("sales.csv"))?;
    sales.write_record(["date", "region", "product", "units", "amount"])?;
    for day in 0..240u32 {
        for _ in 0..5 {
            let units = 1 + dice.below(40);
            let cents = units * (1_000 + dice.below(9_000));
            sales.write_record([
                format!("2026-{:02}-{:02}", 1 + day / 28, 1 + day % 28),
                dice.pick(&REGIONS).to_owned(),
                dice.pick(&PRODUCTS).to_owned(),
                units.to_string(),
                format!("{}.{:02}", cents / 100, cents % 100),
            ])?;
        }
    }
    sales.flush()?;
    let mut headcount = csv::Writer::from_path(dir.join("headcount.csv"))?;
    headcount.write_record(["month", "department", "site", "heads"])?;
    for month in 1..=9 {
        for department in DEPARTMENTS {
            for site in SITES {
                headcount.write_record([
                    format!("2026-{month:02}"),
                    department.to_owned(),
                    site.to_owned(),
                    (3 + dice.below(60)).to_string(),
                ])?;
            }
        }
    }
    headcount.flush()?;
    let mut employees = csv::Writer::from_path(dir.join("employees.csv"))?;
    employees.write_record(["employee", "department", "email", "ssn", "company_card", "bonus"])?;
    for _ in 0..60 {
        let (first, last) = (dice.pick(&FIRST), dice.pick(&LAST));
        employees.write_record([
            format!("{first} {last}"),
            dice.pick(&DEPARTMENTS).to_owned(),
            format!("{}.{}@northwind-works.com", first.to_lowercase(), last.to_lowercase().replace('ö', "o")),
            format!("{:03}-{:02}-{:04}", 100 + dice.below(560), 1 + dice.below(98), 1 + dice.below(9_998)),
            card(&mut dice),
            (500 + dice.below(9_500)).to_string(),
        ])?;
    }
    employees.flush()?;
    Ok(())
}

/// A sixteen-digit number of a well-known issuer range with a right check digit.
fn card(dice: &mut Dice) -> String {
    let mut digits: Vec<u32> = vec![4, 5, 3, 9];
    while digits.len() < 15 {
        digits.push(dice.below(10));
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| if i % 2 == 0 { if *d > 4 { d * 2 - 9 } else { d * 2 } } else { *d })
        .sum();
    digits.push((10 - sum % 10) % 10);
    digits.iter().map(u32::to_string).collect()
}

/// A small generator (xorshift), so that the same reports come out everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(limit)).unwrap_or(0)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let index = self.below(u32::try_from(from.len()).unwrap_or(1)) as usize;
        from.get(index).copied().unwrap_or_default()
    }
}
