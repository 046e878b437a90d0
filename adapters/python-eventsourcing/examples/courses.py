"""Courses and students: a decision about both at once, by a dynamic consistency boundary.

python courses.py ADA MATHS"""

from __future__ import annotations

import json
import os
import sys

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.application import DCBApplication
from eventsourcing.persistence import IntegrityError

os.environ.setdefault("PERSISTENCE_MODULE", "eventsourcing_annals")
PLACES, COURSES = 2, 3


class Enrolment(DCBApplication):
    def enrol(self, student: str, course: str) -> str:
        student_tag, course_tag = f"student:{student}", f"course:{course}"
        about = DCBQuery([DCBQueryItem(["Enrolled"], [tag]) for tag in (student_tag, course_tag)])
        while True:
            read = self.recorder.read(about)
            tags = [set(found.event.tags) for found in read]
            if {student_tag, course_tag} in tags:
                return f"{student} takes {course} already"
            if sum(course_tag in each for each in tags) >= PLACES:
                return f"{course} is full"
            if sum(student_tag in each for each in tags) >= COURSES:
                return f"{student} takes enough courses"
            data = json.dumps({"student": student, "course": course}).encode()
            enrolled = DCBEvent("Enrolled", data, [student_tag, course_tag])
            try:
                self.recorder.append([enrolled], DCBAppendCondition(about, after=read.head))
                return f"{student} takes {course}"
            except IntegrityError:
                continue  # Somebody enrolled meanwhile: read and decide again.


if __name__ == "__main__":
    with Enrolment() as enrolment:
        print(enrolment.enrol(*sys.argv[1:]))
