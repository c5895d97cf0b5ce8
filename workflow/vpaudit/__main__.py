from vpaudit.cli import main

raise SystemExit(main())
