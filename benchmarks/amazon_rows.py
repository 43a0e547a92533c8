"""Amazon reviews of all domains as one TSV file of texts and labels, without duplicates."""

import argparse

from raykd.data import storage
from raykd.metakd.reviews import read_reviews, without_duplicates


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="folder of domains with positive.review and negative.review")
    parser.add_argument("out", help="TSV file: text, negative or positive")
    given = parser.parse_args()
    reviews = without_duplicates(read_reviews(given.folder))
    storage.write_bytes(given.out, "".join(f"{one.text}\t{one.sentiment}\n" for one in reviews).encode())
    print(f"{given.out}: {len(reviews)} reviews")


if __name__ == "__main__":
    main()
