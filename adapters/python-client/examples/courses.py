"""Courses with a number of places. A decision concerns a course and a student at once, so that it
is guarded by a condition on what both have (a dynamic consistency boundary), without a stream. A
read model in SQLite follows the events and stores its position with their effect.

    python courses.py enrol ADA MATHS    # or: list, or: follow"""

from __future__ import annotations

import json
import os
import sqlite3
import sys

from annals import (
    AppendRequest,
    Client,
    ConflictError,
    QueryItem,
    ReadRequest,
    RecordedEvent,
    SubscribeRequest,
    event,
    query,
)

PLACES, COURSES = 2, 3
ENROLLED = "StudentEnrolled"
OF_INTEREST = query(QueryItem(types=[ENROLLED]))


def enrol(client: Client, student: str, course: str) -> str:
    student_tag, course_tag = f"student:{student}", f"course:{course}"
    about = query(
        QueryItem(types=[ENROLLED], tags=[course_tag]),
        QueryItem(types=[ENROLLED], tags=[student_tag]),
    )
    while True:
        read = client.read(ReadRequest(query=about))
        before = list(read)
        if any({student_tag, course_tag} <= set(each.tags) for each in before):
            return f"{student} takes {course} already"
        if sum(course_tag in each.tags for each in before) >= PLACES:
            return f"{course} is full"
        if sum(student_tag in each.tags for each in before) >= COURSES:
            return f"{student} takes enough courses"
        enrolled = event(
            ENROLLED, {"student": student, "course": course}, tags=[student_tag, course_tag]
        )
        request = AppendRequest(events=[enrolled], conditions=[read.condition], epoch=read.epoch)
        try:
            client.append(request)
            return f"{student} takes {course}"
        except ConflictError:
            continue  # Somebody enrolled meanwhile: read and decide again.


class ReadModel:
    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path)
        self.db.execute("CREATE TABLE IF NOT EXISTS places (course TEXT, student TEXT)")
        self.db.execute("CREATE TABLE IF NOT EXISTS read_to (position INTEGER, epoch TEXT)")

    def catch_up(self, client: Client) -> None:
        position, epoch = self.read_to()
        read = client.read(ReadRequest(query=OF_INTEREST, from_position=position + 1, epoch=epoch))
        for enrolled in read:
            self.apply(enrolled, read.epoch)

    def follow(self, client: Client) -> None:
        position, epoch = self.read_to()
        request = SubscribeRequest(query=OF_INTEREST, after_position=position, epoch=epoch)
        with client.subscribe(request) as subscription:
            for enrolled in subscription:
                self.apply(enrolled, subscription.epoch)
                print(enrolled.data.decode(), flush=True)

    def read_to(self) -> tuple[int, str]:
        position, epoch = self.db.execute("SELECT * FROM read_to").fetchone() or (0, "")
        return position, epoch

    def apply(self, enrolled: RecordedEvent, epoch: str) -> None:
        data = json.loads(enrolled.data)
        with self.db:
            self.db.execute("INSERT INTO places VALUES (:course, :student)", data)
            self.db.execute("DELETE FROM read_to")
            self.db.execute("INSERT INTO read_to VALUES (?, ?)", (enrolled.position, epoch))


def main(command: str, *names: str) -> None:
    with Client(os.environ.get("ANNALS_ADDRESS", "127.0.0.1:7420")) as client:
        if command == "enrol":
            print(enrol(client, *names))
            return
        model = ReadModel(os.environ.get("COURSES_DB", "courses.db"))
        if command == "follow":
            model.follow(client)
        model.catch_up(client)
        for row in model.db.execute("SELECT * FROM places ORDER BY course, student"):
            print(*row)


if __name__ == "__main__":
    main(*sys.argv[1:])
