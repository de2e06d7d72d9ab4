module replacer

go 1.19
