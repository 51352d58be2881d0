from threecad.cli import main

main()
