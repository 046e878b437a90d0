import { testPythonAdapter } from "./python-adapter.ts";

// 49 cases are of the library's wheel (or run it: optional and nested ones), 6 are our own.
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
