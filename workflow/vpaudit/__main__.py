from vpaudit.commands.main import main

raise SystemExit(main())
