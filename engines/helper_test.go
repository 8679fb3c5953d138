package engines

func helperMain() {}
