import { testPythonAdapter } from "./python-adapter.ts";

// 44 cases are what the library's wheel ships, 5 of them once more with text IDs; 6 are our own.
testPythonAdapter({
  name: "python-eventsourcing",
  cases: 55,
  packages: ["adapters/python-client", "adapters/python-eventsourcing"],
  examples: [
    [["bank.py"], "ada has 70\nmoved: 130\n"],
    [["bank.py"], "ada has 140\nmoved: 260\n"],
    [["courses.py", "ada", "maths"], "ada takes maths\n"],
    [["courses.py", "ada", "maths"], "ada takes maths already\n"],
    [["courses.py", "bob", "maths"], "bob takes maths\n"],
    [["courses.py", "eve", "maths"], "maths is full\n"],
  ],
});
